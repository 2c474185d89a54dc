// The second rung, backward: the ring of prefetch_forward.cu, and the text of backward_plain. da may be dh.

#define TOGETHER (AHEAD < 8 ? AHEAD : 8)  // AHEAD is a multiple of it

extern "C" __global__ void __launch_bounds__(128, 1)
backward_prefetch(const real* dh, const real* h, const real* a, const real* u, const real* h0,
                  real* da, real* dh0, real* du, real* db,
                  int64 T, int64 columns, int64 neurons, real alpha) {
    int64 c;
    if (!mine(columns, c)) return;
    const Column column{{alpha}, u[c % neurons]};
    const real start = h0[c];

    struct Row { real dh, a, h_prev; } ring[AHEAD];  // what a step needs; h_t is the h_prev of the step taken before
    int64 load = (T - 1) * columns + c, store = load;
    const auto row = [&](real h_prev) {
        const Row loaded{dh[load], ACTIVATION::needs_z ? a[load] : real(0), h_prev};
        load -= columns;
        return loaded;
    };
    real h_now = h[load], dz = 0, du_sum = 0, db_sum = 0;                                       // dz_{T+1} = 0
    const auto step_back = [&](const Row& now) {
        dz = column.step_back(now.dh, h_now, now.a, now.h_prev, dz);                            // (iii), (iv)
        da[store] = dz;
        store -= columns;
        du_sum = sum(du_sum, product(dz, now.h_prev));                                          // (v)
        db_sum = sum(db_sum, dz);
        h_now = now.h_prev;
    };

    #pragma unroll
    for (int j = 0; j < AHEAD; ++j) {
        if (j < T) { ring[j] = row(j < T - 1 ? h[load - columns] : start); }
    }
    for (int64 t = T - 1; t >= 0; t -= AHEAD) {
        #pragma unroll
        for (int k = 0; k < AHEAD; k += TOGETHER) {
            const bool all_there = t - k >= TOGETHER + AHEAD;
            if (all_there) {
                #pragma unroll
                for (int j = k; j < k + TOGETHER; ++j) {
                    const Row now = ring[j];
                    ring[j] = row(h[load - columns]);
                    step_back(now);
                }
            } else {
                #pragma unroll
                for (int j = k; j < k + TOGETHER; ++j) {
                    if (t - j >= 0) {
                        const Row now = ring[j];
                        if (t - j - AHEAD >= 0) { ring[j] = row(t - j - AHEAD > 0 ? h[load - columns] : start); }
                        step_back(now);
                    }
                }
            }
        }
    }
    dh0[c] = product(column.u, dz);                                                             // (v)
    du[c] = du_sum;
    db[c] = db_sum;
}
