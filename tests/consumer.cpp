// An IndRNN in C++ that checks itself against the conformance vectors, with nothing but the standard library:
//   c++ -std=c++17 -O2 consumer.cpp -o consumer && ./consumer FOLDER/exact.json FOLDER/rounded.json
// With -DBROKEN it takes h_t for h_{t-1} in du, which the vectors must show.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

using Numbers = std::vector<double>;

struct Case {
    std::map<std::string, std::string> words;    // id, activation
    std::map<std::string, Numbers> numbers;      // a single number is a list of one
    size_t size(const char* letter) const { return static_cast<size_t>(numbers.at(letter)[0]); }
};

// As much JSON as the files use: objects of words, numbers and flat lists, without escapes.
struct Reader {
    std::ifstream in;

    bool accept(char c) { return (in >> std::ws).peek() == c ? in.get(), true : false; }
    void expect(char c) { if (!accept(c)) throw std::runtime_error(std::string("expected ") + c); }

    std::string word() {
        std::string text;
        expect('"');
        std::getline(in, text, '"');
        return text;
    }
    double number() {
        double value;
        if (!(in >> value)) throw std::runtime_error("expected a number");
        return value;
    }
    void value(const std::string& key, Case& c) {
        if (accept('[')) while (!accept(']')) { value(key, c); accept(','); }
        else if (in.peek() == '"') c.words[key] = word();
        else c.numbers[key].push_back(number());
    }
    Case one() {
        Case c;
        for (expect('{'); !accept('}'); accept(',')) {
            std::string key = word();
            expect(':');
            value(key, c);
        }
        return c;
    }
    std::vector<Case> all() {
        std::vector<Case> cases;
        in.ignore(1000, '[');                    // after "format" and "cases"
        while (!accept(']')) { cases.push_back(one()); accept(','); }
        return cases;
    }
};

template <class Real> struct Activation {
    std::string name;
    Real alpha;
    Real value(Real z) const {
        if (name == "identity") return z;
        if (name == "relu") return z > 0 ? z : 0;
        if (name == "leaky_relu") return z > 0 ? z : alpha * z;
        if (name == "tanh") return std::tanh(z);
        if (name == "sigmoid") return 1 / (1 + std::exp(-z));
        if (name == "softplus") return std::log1p(std::exp(-std::abs(z))) + std::max(z, Real(0));
        throw std::runtime_error("unknown activation " + name);
    }
    Real slope(Real z, Real h) const {
        if (name == "relu") return z > 0;
        if (name == "leaky_relu") return z > 0 ? 1 : alpha;
        if (name == "tanh") return 1 - h * h;
        if (name == "sigmoid") return h * (1 - h);
        if (name == "softplus") return 1 / (1 + std::exp(-z));
        return 1;
    }
};

template <class Real> std::map<std::string, Numbers> run(const Case& c) {
    auto given = [&](const char* name) {
        const Numbers& all = c.numbers.at(name);
        return std::vector<Real>(all.begin(), all.end());
    };
    const size_t T = c.size("T"), B = c.size("B"), M = c.size("M"), N = c.size("N");
    const auto x = given("x"), W = given("W"), u = given("u"), b = given("b"), h0 = given("h0"), dh = given("dh");
    const Activation<Real> sigma{c.words.at("activation"), c.numbers.count("alpha") ? given("alpha")[0] : Real(0)};
    std::vector<Real> h(T * B * N), dx(T * B * M), dW(N * M), du(N), db(N), dh0(B * N), z(T);

    for (size_t s = 0; s < B; ++s)
        for (size_t n = 0; n < N; ++n) {         // no neuron sees another
            auto state = [&](size_t t) -> Real& { return h[(t * B + s) * N + n]; };
            for (size_t t = 0; t < T; ++t) {
                z[t] = b[n] + u[n] * (t ? state(t - 1) : h0[s * N + n]);
                for (size_t m = 0; m < M; ++m) z[t] += W[n * M + m] * x[(t * B + s) * M + m];
                state(t) = sigma.value(z[t]);
            }
            Real carry = 0;                      // u dz of the step after
            for (size_t t = T; t-- > 0;) {
                const Real dz = sigma.slope(z[t], state(t)) * (dh[(t * B + s) * N + n] + carry);
#ifdef BROKEN
                du[n] += dz * state(t);
#else
                du[n] += dz * (t ? state(t - 1) : h0[s * N + n]);
#endif
                db[n] += dz;
                for (size_t m = 0; m < M; ++m) {
                    dW[n * M + m] += dz * x[(t * B + s) * M + m];
                    dx[(t * B + s) * M + m] += dz * W[n * M + m];
                }
                carry = u[n] * dz;
            }
            dh0[s * N + n] = carry;
        }
    auto doubles = [](const std::vector<Real>& all) { return Numbers(all.begin(), all.end()); };
    return {{"h", doubles(h)}, {"dx", doubles(dx)}, {"dW", doubles(dW)},
            {"du", doubles(du)}, {"db", doubles(db)}, {"dh0", doubles(dh0)}};
}

template <class Real> bool right(const Case& c, const std::string& precision) {
    for (const auto& [name, got] : run<Real>(c)) {
        const Numbers& want = c.numbers.at(name);
        const auto allowed = c.numbers.find(name + "_allowed_" + precision);     // not there: nothing is allowed
        for (size_t i = 0; i < want.size(); ++i) {
            const double limit = allowed == c.numbers.end() ? 0 : allowed->second.at(i);
            if (!(std::abs(got.at(i) - want[i]) <= limit)) {                     // so that a NaN is wrong
                std::printf("%s, %s: %s[%zu] is %.17g, expected %.17g, allowed error %.3g\n", c.words.at("id").c_str(),
                            precision.c_str(), name.c_str(), i, got[i], want[i], limit);
                return false;
            }
        }
    }
    return true;
}

int main(int count, char** paths) try {
    size_t cases = 0, wrong = 0;
    for (int k = 1; k < count; ++k) {
        for (const Case& c : Reader{std::ifstream(paths[k])}.all()) {
            const bool in_float = right<float>(c, "float32"), in_double = right<double>(c, "float64");
            ++cases;
            wrong += !(in_float && in_double);
        }
    }
    std::printf("%zu cases, %zu wrong\n", cases, wrong);
    return cases == 0 || wrong > 0;
} catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
}
