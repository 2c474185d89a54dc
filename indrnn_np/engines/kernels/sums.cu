// The last sum of (v), over the sequences of each neuron, one after the other: no atomics, so the same bits each time.
extern "C" __global__ void sum_sequences(const real* per_column, real* per_neuron, int64 sequences, int64 neurons) {
    int64 n;
    if (!mine(neurons, n)) return;
    real total = 0;
    for (int64 b = 0; b < sequences; ++b) total = sum(total, per_column[b * neurons + n]);
    per_neuron[n] = total;
}
