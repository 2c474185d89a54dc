// The third rung: parallel in time, for rows too short to fill a GPU. One launch.
//
// A block is COLUMNS columns by SLICES slices of time. It walks over the sequence in tiles of SLICES · STEPS steps, of
// which each thread has STEPS, in registers. Four moments in each tile, a barrier after 1, 2 and 4:
//
//     1  every slice composes its own steps into one map, and lays it out for all to see;
//     2  every slice applies the maps before it, one after the other, to what entered the tile: now it knows what
//        enters it. A map that may not stand for its run (maps.cuh) is replaced by the run itself, read again;
//     3  every slice runs its steps from there, as the loop does, and writes;
//     4  the last slice says what leaves the tile.
//
// But for such runs, all is read once and written once, so the traffic is that of the loop (backward, a state between
// two slices is read by both). Nothing of a tile is written before all have read it (2), so h may be a, and da may be
// dh. Only what enters a slice is rounded otherwise than in the loop, and the order in which du and db are summed is
// another: the results agree with the loop's within the error that the oracle allows a scan (`order="scan"`).

struct Place {
    int x, y;          // column within the block, slice within the tile
    int64 c;           // column within the row
    bool inside;       // whether there is such a column

    // How many of my steps there are in the tile before which `done` of T steps are done: STEPS, at the end fewer.
    __device__ __forceinline__ int steps_left(int64 T, int64 done) const {
        const int64 left = T - done - y * STEPS;
        return !inside || left < 0 ? 0 : left < STEPS ? (int)left : STEPS;
    }
};

__device__ __forceinline__ Place place(int64 columns) {
    const int64 c = (int64)blockIdx.x * COLUMNS + threadIdx.x;
    return {(int)threadIdx.x, (int)threadIdx.y, c, c < columns};
}
