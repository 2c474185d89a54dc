// The second rung: as the first, bit for bit, but each thread has asked for the next AHEAD steps before it needs them.
//
// A thread does not wait for a load until it uses what was loaded. So it keeps a ring of AHEAD registers: what step t
// takes from its place, the load for step t + AHEAD fills again. Memory then has AHEAD steps of every column in flight,
// and the time of a step falls from the latency of memory to latency / AHEAD, until either bandwidth or the chain
// h_{t−1} → h_t is what limits (for ReLU five instructions, each of which waits for the one before: a
// product, a sum, two questions, a choice).
//
// The loops over the ring are unrolled, since registers cannot be indexed. TOGETHER steps share one question, whether
// all that they load is there; only the last rounds ask at each step. That question has a second use. A compiler runs
// the steps up to the next branch first, since each waits for the one before, and issues their loads after them: with
// no branch in AHEAD steps it would ask for a whole ring at once, and then wait for it.
//
// A row is read before the row AHEAD steps earlier is written, and no other thread touches them, so h may be a.
//
// __launch_bounds__: 128 threads (THREADS in cuda.py), and one block on a processor will do; so the ring may have
// nearly all the registers that a thread can have.

#define TOGETHER (AHEAD < 8 ? AHEAD : 8)  // AHEAD is a multiple of it

extern "C" __global__ void __launch_bounds__(128, 1)
forward_prefetch(const real* a, const real* u, const real* h0, real* h,
                 int64 T, int64 columns, int64 neurons, real alpha) {
    int64 c;
    if (!mine(columns, c)) return;
    const Column column{{alpha}, u[c % neurons]};
    const real* load = a + c;  // where the next load is from,
    real* store = h + c;       // and the next state goes to: they only ever move on by a row

    real ring[AHEAD];
    #pragma unroll
    for (int j = 0; j < AHEAD; ++j) {
        if (j < T) { ring[j] = *load; load += columns; }
    }

    real h_prev = h0[c];
    for (int64 t = 0; t < T; t += AHEAD) {
        #pragma unroll
        for (int k = 0; k < AHEAD; k += TOGETHER) {
            const bool all_there = t + k + TOGETHER + AHEAD <= T;
            if (all_there) {
                #pragma unroll
                for (int j = k; j < k + TOGETHER; ++j) {
                    h_prev = column.step(ring[j], h_prev);                                      // (i), (ii)
                    ring[j] = *load;
                    load += columns;
                    *store = h_prev;
                    store += columns;
                }
            } else {
                #pragma unroll
                for (int j = k; j < k + TOGETHER; ++j) {
                    if (t + j < T) {
                        h_prev = column.step(ring[j], h_prev);
                        if (t + j + AHEAD < T) { ring[j] = *load; load += columns; }
                        *store = h_prev;
                        store += columns;
                    }
                }
            }
        }
    }
}
