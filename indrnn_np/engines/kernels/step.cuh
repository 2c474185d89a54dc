// One step of the recurrence in each direction, for every kernel of the ladder; the equations are recurrence.py's. What
// they add up to, (v), each kernel writes out.
//
//     z_t = a_t + u h_{t−1}                 (i)          g_t = dh_t + u dz_{t+1}               (iii)
//     h_t = σ(z_t)                          (ii)         dz_t = σ'(z_t) g_t                    (iv)
//
// No neuron sees another and no sequence sees another: (B, N) is one row of B·N columns, each a recurrence of its own,
// with the recurrent weight u[c % N].

struct Column {
    ACTIVATION activation;
    real u;

    __device__ __forceinline__ real z(real a, real h_prev) const { return sum(a, product(u, h_prev)); }  // (i)
    __device__ __forceinline__ real step(real a, real h_prev) const { return activation.value(z(a, h_prev)); }  // (ii)

    __device__ __forceinline__ real g(real dh, real dz_next) const { return sum(dh, product(u, dz_next)); }  // (iii)
    __device__ __forceinline__ real step_back(real dh, real h, real a, real h_prev, real dz_next) const {
        return pull(g(dh, dz_next), h, a, h_prev);  // (iv)
    }

    // σ'(z_t) · g, with the slope taken where the activation must have it: at z, which is formed again, or at h.
    template <class G> __device__ __forceinline__ G pull(G g, real h, real a, real h_prev) const {
        return activation.pull(g, ACTIVATION::needs_z ? z(a, h_prev) : real(0), h);
    }
};

// The column of this thread, counting along x, in a row of `columns`; false: there is none.
__device__ __forceinline__ bool mine(int64 columns, int64& c) {
    c = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    return c < columns;
}

// The state before row t of a column whose states are h[0], h[stride], …: row t − 1; before row 0 it is h_0.
__device__ __forceinline__ real before(const real* h, real h0, int64 t, int64 stride) {
    return t > 0 ? h[(t - 1) * stride] : h0;
}
