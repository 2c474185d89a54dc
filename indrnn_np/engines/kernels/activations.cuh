// The activations σ, in one table as in activations.py, where "leaky_relu" is what is LeakyRelu here:
//
//     value(z)          σ(z)
//     pull(g, z, h)     σ'(z) · g, selected by h = σ(z) where σ is piecewise linear: 0 · inf cannot arise there, and a
//                       NaN stays one. g is real, or double where a product of many slopes is being formed.
//     needs_z           whether the slope must be taken at z, since h has lost it (tanh(20) is 1 to the last bit)
//     composes          whether σ is min(hi, max(lo, z)), so that forward can be cut into slices of time
//     steepest()        a number that |σ'| does not exceed: 1 for all but LeakyRelu
//
// alpha, above 0, is the slope of LeakyRelu below 0; the others do not look at it.

struct Identity {
    static constexpr bool needs_z = false, composes = true;
    real alpha;
    __device__ real steepest() const { return real(1); }
    __device__ real value(real z) const { return z; }
    template <class G> __device__ G pull(G g, real, real) const { return g; }
};

struct Relu {
    static constexpr bool needs_z = false, composes = true;
    real alpha;
    __device__ real steepest() const { return real(1); }
    __device__ real value(real z) const { return positive(z) || is_nan(z) ? z : real(0); }
    template <class G> __device__ G pull(G g, real, real h) const {
        return is_nan(h) ? G(h) : positive(h) ? g : G(0);
    }
};

struct LeakyRelu {
    static constexpr bool needs_z = false, composes = false;
    real alpha;
    __device__ real steepest() const { return alpha > real(1) ? alpha : real(1); }
    __device__ real value(real z) const { return positive(z) ? z : product(alpha, z); }
    template <class G> __device__ G pull(G g, real, real h) const {
        return is_nan(h) ? G(h) : positive(h) ? g : product(G(alpha), g);
    }
};

// e / (1 + e)² with e = exp(−|z|): the derivative of the logistic function, with no cancellation in either tail.
__device__ __forceinline__ real logistic_slope(real z) {
    const real e = exp(-magnitude(z));
    return e / ((real(1) + e) * (real(1) + e));
}

// sech²(z) = 4 e / (1 + e)² with e = exp(−|2z|): four times the logistic slope at 2z.
struct Tanh {
    static constexpr bool needs_z = true, composes = false;
    real alpha;
    __device__ real steepest() const { return real(1); }
    __device__ real value(real z) const { return tanh(z); }
    template <class G> __device__ G pull(G g, real z, real) const { return real(4) * logistic_slope(real(2) * z) * g; }
};

struct Sigmoid {
    static constexpr bool needs_z = true, composes = false;
    real alpha;
    __device__ real steepest() const { return real(1); }
    __device__ real value(real z) const {
        const real e = exp(-magnitude(z));
        return (z < real(0) ? e : real(1)) / (real(1) + e);
    }
    template <class G> __device__ G pull(G g, real z, real) const { return logistic_slope(z) * g; }
};

struct Softplus {
    static constexpr bool needs_z = false, composes = false;
    real alpha;
    __device__ real steepest() const { return real(1); }
    __device__ real value(real z) const { return log1p(exp(-magnitude(z))) + (z > real(0) ? z : real(0)); }
    template <class G> __device__ G pull(G g, real, real h) const { return -expm1(-h) * g; }
};
