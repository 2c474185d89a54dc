// Backward in slices of time, for every activation. Time runs backward: slice 0 of a tile is the latest, and "step" j
// of a slice that begins at t is t − j. What is made of steps before the first, nobody asks for. Unlike forward it does
// not load the next tile meanwhile: the registers for that would leave room for one block on a processor, where now two
// take turns.

extern "C" __global__ void __launch_bounds__(COLUMNS * SLICES)
backward_slices(const real* dh, const real* h, const real* a, const real* u, const real* h0,
                real* da, real* dh0, real* du, real* db,
                int64 T, int64 columns, int64 neurons, real alpha) {
    __shared__ Affine maps[SLICES][COLUMNS];
    __shared__ real leaving[COLUMNS], du_of[SLICES][COLUMNS], db_of[SLICES][COLUMNS];
    const Place me = place(columns);
    const Column column{{alpha}, me.inside ? u[me.c % neurons] : real(0)};
    const real start = me.inside ? h0[me.c] : real(0);
    const bool slopes_tame = slopes_are_tame(column, STEPS);

    int64 at = (T - 1 - me.y * STEPS) * columns + me.c;  // where my first step is
    real entering = 0, du_sum = 0, db_sum = 0;                                                  // dz_{T+1} = 0
    for (int64 done = 0; done < T; done += SLICES * STEPS) {
        const int left = me.steps_left(T, done);
        real my_dh[STEPS], my_a[STEPS], my_h[STEPS + 1];
        #pragma unroll
        for (int j = 0; j < STEPS; ++j) {
            my_dh[j] = j < left ? dh[at - j * columns] : real(0);
            my_a[j] = ACTIVATION::needs_z && j < left ? a[at - j * columns] : real(0);
            my_h[j] = j < left ? h[at - j * columns] : start;
        }
        my_h[STEPS] = me.steps_left(T, done + STEPS) > 0 ? h[at - STEPS * columns] : start;

        Backward run{1.0, real(0), real(0)};                                                    // 1
        #pragma unroll
        for (int j = 0; j < STEPS; ++j) { run.then(column, my_dh[j], my_h[j], my_a[j], my_h[j + 1]); }
        maps[me.y][me.x] = run.map(column, slopes_tame);
        __syncthreads();

        real dz = entering;                                                                     // 2
        for (int slice = 0; slice < me.y; ++slice) {
            if (!apply(maps[slice][me.x], dz)) {
                #pragma unroll 1
                for (int64 again = done + slice * STEPS; again < done + (slice + 1) * STEPS && again < T; ++again) {
                    if (me.inside) {
                        const int64 t = T - 1 - again, there = t * columns + me.c;
                        dz = column.step_back(dh[there], h[there], ACTIVATION::needs_z ? a[there] : real(0),
                                              before(h + me.c, start, t, columns), dz);
                    }
                }
            }
        }
        __syncthreads();

        #pragma unroll
        for (int j = 0; j < STEPS; ++j) {                                                       // 3
            if (j < left) {
                dz = column.step_back(my_dh[j], my_h[j], my_a[j], my_h[j + 1], dz);
                da[at - j * columns] = dz;
                du_sum = sum(du_sum, product(dz, my_h[j + 1]));                                 // (v)
                db_sum = sum(db_sum, dz);
                if (at - j * columns == me.c) dh0[me.c] = product(column.u, dz);               // (v), at the first step
            }
        }
        at -= SLICES * STEPS * columns;
        if (me.y == SLICES - 1) leaving[me.x] = dz;                                             // 4
        __syncthreads();
        entering = leaving[me.x];
    }

    // The sums of the slices, one after the other: no atomics, so the same bits each time.
    du_of[me.y][me.x] = du_sum;
    db_of[me.y][me.x] = db_sum;
    __syncthreads();
    if (me.inside && me.y == 0) {
        for (int slice = 1; slice < SLICES; ++slice) {
            du_sum = sum(du_sum, du_of[slice][me.x]);
            db_sum = sum(db_sum, db_of[slice][me.x]);
        }
        du[me.c] = du_sum;
        db[me.c] = db_sum;
    }
}
