// Forward in slices of time: ReLU and identity. (A leaky ReLU's map bends once more at each step, tanh's has no form.)

static_assert(ACTIVATION::composes, "this activation has no forward in slices of time");

extern "C" __global__ void __launch_bounds__(COLUMNS * SLICES)
forward_slices(const real* a, const real* u, const real* h0, real* h,
               int64 T, int64 columns, int64 neurons, real alpha) {
    __shared__ Clamp maps[SLICES][COLUMNS];
    __shared__ real leaving[COLUMNS];
    const Place me = place(columns);
    const Column column{{alpha}, me.inside ? u[me.c % neurons] : real(0)};
    const bool slopes_tame = slopes_are_tame(column, STEPS);
    double s = 1;
    for (int j = 0; j < STEPS; ++j) { s = product((double)column.u, s); }

    const int64 tile = SLICES * STEPS * columns;  // in memory
    const real* load = a + me.y * STEPS * columns + me.c;
    real* store = h + me.y * STEPS * columns + me.c;
    real my_a[STEPS], next_a[STEPS];
    const auto load_next = [&](int left) {
        #pragma unroll
        for (int j = 0; j < STEPS; ++j) { next_a[j] = j < left ? load[j * columns] : real(0); }
        load += tile;
    };

    real entering = me.inside ? h0[me.c] : real(0);
    load_next(me.steps_left(T, 0));
    for (int64 t = 0; t < T; t += SLICES * STEPS) {
        #pragma unroll
        for (int j = 0; j < STEPS; ++j) { my_a[j] = next_a[j]; }
        load_next(me.steps_left(T, t + SLICES * STEPS));  // on its way meanwhile

        Forward run{real(0), -infinity(), infinity(), real(0)};                                 // 1
        #pragma unroll
        for (int j = 0; j < STEPS; ++j) { run.then(column, my_a[j]); }
        maps[me.y][me.x] = run.map(slopes_tame);
        __syncthreads();

        real state = entering;                                                                  // 2
        for (int slice = 0; slice < me.y; ++slice) {
            if (!apply(maps[slice][me.x], s, state)) {
                #pragma unroll 1
                for (int64 again = t + slice * STEPS; again < t + (slice + 1) * STEPS && again < T; ++again) {
                    if (me.inside) { state = column.step(a[again * columns + me.c], state); }
                }
            }
        }
        __syncthreads();

        const int left = me.steps_left(T, t);
        #pragma unroll
        for (int j = 0; j < STEPS; ++j) {                                                       // 3
            state = column.step(my_a[j], state);
            if (j < left) { store[j * columns] = state; }
        }
        store += tile;
        if (me.y == SLICES - 1) leaving[me.x] = state;                                          // 4
        __syncthreads();
        entering = leaving[me.x];
    }
}
