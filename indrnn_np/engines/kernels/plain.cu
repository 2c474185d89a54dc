// The first rung: one thread runs one column through all steps, as recurrence.py does. Nothing is hidden here.
//
// Neighbouring threads touch neighbouring numbers, so memory is read in whole lines. But each thread asks for a_{t+1}
// only when h_t is done (h may be a, so no load may pass the store before it), and then waits for it, many times longer
// than the step takes: this is what the next rung mends.

extern "C" __global__ void forward_plain(const real* a, const real* u, const real* h0, real* h,
                                         int64 T, int64 columns, int64 neurons, real alpha) {
    int64 c;
    if (!mine(columns, c)) return;
    const Column column{{alpha}, u[c % neurons]};

    real h_prev = h0[c];
    for (int64 t = 0; t < T; ++t) {
        h_prev = column.step(a[t * columns + c], h_prev);                                       // (i), (ii)
        h[t * columns + c] = h_prev;
    }
}

// du and db are sums over t of one column; sums.cu adds up the columns of a neuron. Where the slope follows from h, the
// launcher may pass h for a: `pull` does not look at it.
extern "C" __global__ void backward_plain(const real* dh, const real* h, const real* a, const real* u, const real* h0,
                                          real* da, real* dh0, real* du, real* db,
                                          int64 T, int64 columns, int64 neurons, real alpha) {
    int64 c;
    if (!mine(columns, c)) return;
    const Column column{{alpha}, u[c % neurons]};

    real dz = 0, du_sum = 0, db_sum = 0;                                                        // dz_{T+1} = 0
    for (int64 t = T - 1; t >= 0; --t) {
        const int64 at = t * columns + c;
        const real h_prev = before(h + c, h0[c], t, columns);
        dz = column.step_back(dh[at], h[at], a[at], h_prev, dz);                                // (iii), (iv)
        da[at] = dz;
        du_sum = sum(du_sum, product(dz, h_prev));                                              // (v)
        db_sum = sum(db_sum, dz);
    }
    dh0[c] = product(column.u, dz);                                                             // (v)
    du[c] = du_sum;
    db[c] = db_sum;
}
