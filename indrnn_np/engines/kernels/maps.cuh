// What a run of steps does to the value that enters it, in a few numbers: what makes slices of time independent.
// analysis/scan.py has the proof that these maps are closed under composition, and the same letters.
//
//     forward, ReLU and identity:     h  → min(hi, max(lo, s h + c))        Clamp
//     backward, every activation:     dz → s dz + c                         Affine       (the slopes are known by then)
//
// s is a product of many factors. It is double also for float: in float its rounding goes one way at every step where
// the factors are equal, as they are here, and would add up over the slices.
//
// A map may stand for its run only while nothing in the run can overflow: the loop may stay finite where a product of
// slopes does not, and inf and NaN must appear where the loop has them. So a map is tame if every s and c on the way,
// before the activation and after it, is less than LARGE, and it is applied to values less than SMALL only. Then the
// affine values of the run stay below LARGE · SMALL + LARGE, and those that a clamp set to 0 on the way, after which
// they grew by less than LARGE, below LARGE² + LARGE: all finite. What is not so is run again, step by step.

#define LARGE (sizeof(real) == 4 ? 0x1p60 : 0x1p480)
#define SMALL (sizeof(real) == 4 ? 0x1p30 : 0x1p240)

__device__ __forceinline__ bool tame(double s, real c) {  // false for a NaN
    return fabs(s) < LARGE && fabs((double)c) < LARGE;
}

struct Affine {  // dz → s dz + c
    double s;
    real c;
    bool is_tame;

    // After the run so far, step t of backward, (iii) and (iv).
    __device__ __forceinline__ void then_back(const Column& column, real dh, real h, real a, real h_prev) {
        const double g_s = product((double)column.u, s);
        const real g_c = column.g(dh, c);
        s = column.pull(g_s, h, a, h_prev);
        c = column.pull(g_c, h, a, h_prev);
        is_tame = is_tame && tame(g_s, g_c) && tame(s, c);
    }

    // Replaces dz by what the run makes of it; false, and nothing, where the map may not stand for the run.
    __device__ __forceinline__ bool apply(real& dz) const {
        if (!is_tame || !(magnitude(dz) < SMALL)) return false;
        dz = real(s * dz + c);
        return true;
    }
};

struct Clamp {  // h → min(hi, max(lo, s h + c))
    double s;
    real c, lo, hi;
    bool is_tame;

    // After the run so far, step t of forward, (i) and (ii). (Where u = 0, 0 · inf makes the ends NaN, which clamp
    // nothing, and what the run then returns is multiplied by that u.)
    __device__ __forceinline__ void then(const Column& column, real a) {
        const real u = column.u;
        const real one = column.step(a, lo), other = column.step(a, hi);
        s = product((double)u, s);
        c = sum(a, product(u, c));
        lo = u < real(0) ? other : one;
        hi = u < real(0) ? one : other;
        is_tame = is_tame && tame(s, c);
    }

    // Replaces h, as above.
    __device__ __forceinline__ bool apply(real& h) const {
        if (!is_tame || !(magnitude(h) < SMALL)) return false;
        const real y = real(s * h + c);
        h = y < lo ? lo : y > hi ? hi : y;
        return true;
    }
};

// What a run of no steps does.
__device__ __forceinline__ Affine affine_identity() { return {1.0, real(0), true}; }
__device__ __forceinline__ Clamp clamp_identity() { return {1.0, real(0), -infinity(), infinity(), true}; }
