// Backward in slices of time, for every activation. Slice 0 of a tile is the latest in time.

extern "C" __global__ void __launch_bounds__(COLUMNS * SLICES)
backward_slices(const real* dh, const real* h, const real* a, const real* u, const real* h0,
                real* da, real* dh0, real* du, real* db,
                int64 T, int64 columns, int64 neurons, real alpha) {
    __shared__ Affine maps[SLICES][COLUMNS];
    __shared__ real leaving[COLUMNS], du_of[SLICES][COLUMNS], db_of[SLICES][COLUMNS];
    const Place me = place(columns);
    const Column column{{alpha}, me.inside ? u[me.c % neurons] : real(0)};
    const real start = me.inside ? h0[me.c] : real(0);

    // Before the first step nothing is read; what a slice makes of such steps, nobody asks for.
    const auto there = [=](int64 t) { return me.inside && t >= 0; };
    const auto cotangent = [=](int64 t) { return there(t) ? dh[t * columns + me.c] : real(0); };
    const auto drive = [=](int64 t) { return ACTIVATION::needs_z && there(t) ? a[t * columns + me.c] : real(0); };
    const auto state = [=](int64 t) { return there(t) ? h[t * columns + me.c] : t == -1 ? start : real(0); };

    real entering = 0, du_sum = 0, db_sum = 0;                                                  // dz_{T+1} = 0
    for (int64 tile = T - 1; tile >= 0; tile -= SLICES * STEPS) {  // the tile's last step
        const int64 last = tile - me.y * STEPS;
        real my_dh[STEPS], my_a[STEPS], my_h[STEPS + 1];
        #pragma unroll
        for (int j = 0; j < STEPS; ++j) { my_dh[j] = cotangent(last - j); my_a[j] = drive(last - j); }
        #pragma unroll
        for (int j = 0; j <= STEPS; ++j) { my_h[j] = state(last - j); }

        Affine map = affine_identity();                                                         // 1
        #pragma unroll
        for (int j = 0; j < STEPS; ++j) { map.then_back(column, my_dh[j], my_h[j], my_a[j], my_h[j + 1]); }
        maps[me.y][me.x] = map;
        __syncthreads();

        real dz = entering;                                                                     // 2
        for (int slice = 0; slice < me.y; ++slice) {
            if (!maps[slice][me.x].apply(dz)) {
                for (int j = 0; j < STEPS; ++j) {
                    const int64 t = tile - slice * STEPS - j;
                    dz = column.step_back(cotangent(t), state(t), drive(t), state(t - 1), dz);
                }
            }
        }
        __syncthreads();

        #pragma unroll
        for (int j = 0; j < STEPS; ++j) {                                                       // 3
            if (there(last - j)) {
                dz = column.step_back(my_dh[j], my_h[j], my_a[j], my_h[j + 1], dz);
                da[(last - j) * columns + me.c] = dz;
                du_sum = sum(du_sum, product(dz, my_h[j + 1]));                                 // (v)
                db_sum = sum(db_sum, dz);
                if (last - j == 0) dh0[me.c] = product(column.u, dz);                           // (v)
            }
        }
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
