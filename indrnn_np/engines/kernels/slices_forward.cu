// Forward in slices of time: ReLU and identity. (A leaky ReLU's map bends once more at each step, tanh's has no form.)

extern "C" __global__ void __launch_bounds__(COLUMNS * SLICES)
forward_slices(const real* a, const real* u, const real* h0, real* h,
               int64 T, int64 columns, int64 neurons, real alpha) {
    __shared__ Clamp maps[SLICES][COLUMNS];
    __shared__ real leaving[COLUMNS];
    const Place me = place(columns);
    const Column column{{alpha}, me.inside ? u[me.c % neurons] : real(0)};
    real entering = me.inside ? h0[me.c] : real(0);

    const auto drive = [=](int64 t) { return me.inside && t < T ? a[t * columns + me.c] : real(0); };
    real mine[STEPS], next[STEPS];
    #pragma unroll
    for (int j = 0; j < STEPS; ++j) { next[j] = drive(me.y * STEPS + j); }

    for (int64 tile = 0; tile < T; tile += SLICES * STEPS) {
        const int64 first = tile + me.y * STEPS;
        #pragma unroll
        for (int j = 0; j < STEPS; ++j) { mine[j] = next[j]; }
        #pragma unroll
        for (int j = 0; j < STEPS; ++j) { next[j] = drive(first + SLICES * STEPS + j); }  // on its way meanwhile

        Clamp map = clamp_identity();                                                           // 1
        #pragma unroll
        for (int j = 0; j < STEPS; ++j) { map.then(column, mine[j]); }
        maps[me.y][me.x] = map;
        __syncthreads();

        real state = entering;                                                                  // 2
        for (int slice = 0; slice < me.y; ++slice) {
            if (!maps[slice][me.x].apply(state)) {
                for (int j = 0; j < STEPS; ++j) { state = column.step(drive(tile + slice * STEPS + j), state); }
            }
        }
        __syncthreads();

        #pragma unroll
        for (int j = 0; j < STEPS; ++j) {                                                       // 3
            state = column.step(mine[j], state);
            if (me.inside && first + j < T) { h[(first + j) * columns + me.c] = state; }
        }
        if (me.y == SLICES - 1) leaving[me.x] = state;                                          // 4
        __syncthreads();
        entering = leaving[me.x];
    }
}
