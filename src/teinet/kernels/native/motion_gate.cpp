// MEM's gate on a CPU: pooling, the three 1x1 convolutions of images of one pixel, the sigmoid; kernels/motion_gate.py
// and step.py call it. A general matrix product repacks the weights first, which costs more than these few columns are
// worth: here each weight is read once, in the order in which it lies.
//
// x: (N, P, C), N = B*T frames, channels last.  w1, w2: (R, C), w3: (C, R), b1, b2: (R), b3: (C).
// pooled: (N, C).  hidden: (B*(T-1), R).  scale: (B, T, C), the gate plus `offset`, and 1 for the last frame.
// Of streams, pooled and `before` are (N, C+1), whose last column is 1, or 0 where there was no frame: scale is 1 there.

#include <algorithm>
#include <cmath>
#include <vector>

#include "numbers.h"

namespace {

constexpr int64_t WIDTH = 8;        // numbers worked on together
constexpr int64_t COLUMNS = 6;      // columns whose sums stay in registers
constexpr int64_t BLOCK = 512;      // channels of a frame that one thread pools
constexpr int64_t LANES = 64;       // channels that it sums in registers
constexpr int64_t ROWS = 16;        // pixels summed there before they join the frame's sum
constexpr int64_t SMALL = 1 << 15;  // products or values below which threads cost more than they bring

typedef float Vector __attribute__((vector_size(WIDTH * sizeof(float)), aligned(4)));

inline Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }

// out[n] = w . columns[n] for n below `count`, at most COLUMNS
template <int64_t N>
void dot(const float* w, const float* const* columns, int64_t length, float* out) {
    Vector sums[N] = {};
    int64_t k = 0;
    for (; k + WIDTH <= length; k += WIDTH) {
        const Vector weight = load(w + k);
        for (int64_t n = 0; n < N; ++n) sums[n] += weight * load(columns[n] + k);
    }
    for (int64_t n = 0; n < N; ++n) {
        float sum = 0;
        for (int64_t lane = 0; lane < WIDTH; ++lane) sum += sums[n][lane];
        for (int64_t rest = k; rest < length; ++rest) sum += w[rest] * columns[n][rest];
        out[n] = sum;
    }
}

void dot_all(const float* w, const std::vector<const float*>& columns, int64_t length, float* out) {
    const int64_t count = columns.size();
    int64_t n = 0;
    for (; n + COLUMNS <= count; n += COLUMNS) dot<COLUMNS>(w, &columns[n], length, out + n);
    for (; n + 2 <= count; n += 2) dot<2>(w, &columns[n], length, out + n);
    for (; n < count; ++n) dot<1>(w, &columns[n], length, out + n);
}

inline const float* as_float(const float* row, int64_t, std::vector<float>&) { return row; }

inline const float* as_float(const bf16* row, int64_t length, std::vector<float>& room) {
    room.resize(length);
    for (int64_t k = 0; k < length; ++k) room[k] = to_float(row[k]);
    return room.data();
}

// sums[lane] = sum over rows of from[p, lane]
template <typename S>
inline void sum_rows(const S* from, float* sums, int64_t rows, int64_t count, int64_t channels) {
    for (int64_t p = 0; p < rows; ++p) {
#pragma omp simd
        for (int64_t lane = 0; lane < count; ++lane) sums[lane] += to_float(from[p * channels + lane]);
    }
}

// sums[c - begin] = sum over pixels first..last-1 of frame[p, c]; wide, for small differences of large means count
template <typename S>
void sum_pixels(const S* frame, double* sums, int64_t first, int64_t last, int64_t begin, int64_t end,
                int64_t channels) {
    std::fill(sums, sums + (end - begin), 0.0);
    for (; first < last; first += ROWS) {
        const int64_t rows = std::min(ROWS, last - first);
        for (int64_t c = begin; c < end; c += LANES) {
            const int64_t count = std::min(LANES, end - c);
            const S* from = frame + first * channels + c;
            float part[LANES] = {};
            if (count == LANES) sum_rows(from, part, rows, LANES, channels);
            else sum_rows(from, part, rows, count, channels);
            for (int64_t lane = 0; lane < count; ++lane) sums[c - begin + lane] += part[lane];
        }
    }
}

// pooled[n * stride + c]: the mean over the pixels of a frame; where frames are fewer than threads, threads share one
template <typename S>
void pool(const S* x, float* pooled, int64_t frames, int64_t pixels, int64_t channels, int64_t stride, int threads) {
    const int64_t blocks = (channels + BLOCK - 1) / BLOCK;
    if (frames * pixels * channels <= SMALL) threads = 1;
    const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads / (frames * blocks), pixels / ROWS));
    const int64_t rows = (pixels + parts - 1) / parts;
    std::vector<double> shared(parts > 1 ? frames * blocks * parts * BLOCK : 0);
#pragma omp parallel for collapse(3) num_threads(threads) if (threads > 1)
    for (int64_t n = 0; n < frames; ++n) {
        for (int64_t block = 0; block < blocks; ++block) {
            for (int64_t part = 0; part < parts; ++part) {
                const int64_t begin = block * BLOCK, end = std::min(channels, begin + BLOCK);
                const int64_t last = std::min(pixels, (part + 1) * rows);
                double own[BLOCK];
                double* sums = parts > 1 ? &shared[((n * blocks + block) * parts + part) * BLOCK] : own;
                sum_pixels(x + n * pixels * channels, sums, part * rows, last, begin, end, channels);
                if (parts == 1)
                    for (int64_t c = begin; c < end; ++c) pooled[n * stride + c] = float(sums[c - begin] / pixels);
            }
        }
    }
    if (parts == 1) return;
    for (int64_t n = 0; n < frames; ++n) {
        for (int64_t c = 0; c < channels; ++c) {
            const double* sums = &shared[(n * blocks + c / BLOCK) * parts * BLOCK + c % BLOCK];
            double sum = 0;
            for (int64_t part = 0; part < parts; ++part) sum += sums[part * BLOCK];
            pooled[n * stride + c] = float(sum / pixels);
        }
    }
}

// Pairs of neighboring frames: the pooled features of both, where their hidden ones go, and where their gate goes.
struct Pairs {
    std::vector<const float*> here, following, squeezed;
    std::vector<float*> gates;

    explicit Pairs(int64_t count) : here(count), following(count), squeezed(count), gates(count) {}
};

template <typename W>
void gate(const Pairs& pairs, const W* w1, const W* b1, const W* w2, const W* b2, const W* w3, const W* b3,
          float* hidden, int64_t C, int64_t R, float offset, int threads) {
    const auto &here = pairs.here, &following = pairs.following, &squeezed = pairs.squeezed;
    const auto& gates = pairs.gates;
    const int64_t count = here.size();
#pragma omp parallel num_threads(threads) if (threads > 1 && count * C * R > SMALL)
    {
        std::vector<float> room, first(count), second(count);
#pragma omp for
        for (int64_t r = 0; r < R; ++r) {
            dot_all(as_float(w1 + r * C, C, room), here, C, first.data());
            dot_all(as_float(w2 + r * C, C, room), following, C, second.data());
            const float bias = to_float(b1[r]) - to_float(b2[r]);
            for (int64_t n = 0; n < count; ++n) hidden[n * R + r] = first[n] - second[n] + bias;
        }
#pragma omp for
        for (int64_t c = 0; c < C; ++c) {
            dot_all(as_float(w3 + c * R, R, room), squeezed, R, first.data());
            for (int64_t n = 0; n < count; ++n)
                gates[n][c] = 1.0f / (1.0f + std::exp(-(first[n] + to_float(b3[c])))) + offset;
        }
    }
}

// all pairs of clips of `frames` frames; the last frame of each has none, and is scaled by 1
Pairs of_clips(const float* pooled, float* hidden, float* scale, int64_t clips, int64_t frames, int64_t C, int64_t R) {
    Pairs pairs(clips * (frames - 1));
    for (int64_t b = 0; b < clips; ++b) {
        for (int64_t t = 0; t + 1 < frames; ++t) {
            const int64_t n = b * (frames - 1) + t;
            pairs.here[n] = pooled + (b * frames + t) * C;
            pairs.following[n] = pairs.here[n] + C;
            pairs.squeezed[n] = hidden + n * R;
            pairs.gates[n] = scale + (b * frames + t) * C;
        }
        float* last = scale + (b * frames + frames - 1) * C;
        std::fill(last, last + C, 1.0f);
    }
    return pairs;
}

// each stream's frame with the one before it
Pairs of_streams(const float* before, const float* pooled, float* hidden, float* scale, int64_t streams, int64_t C,
                 int64_t R) {
    Pairs pairs(streams);
    for (int64_t n = 0; n < streams; ++n) {
        pairs.here[n] = before + n * (C + 1);
        pairs.following[n] = pooled + n * (C + 1);
        pairs.squeezed[n] = hidden + n * R;
        pairs.gates[n] = scale + n * C;
    }
    return pairs;
}

void note_first_frames(const float* before, float* pooled, float* scale, int64_t streams, int64_t C) {
    for (int64_t n = 0; n < streams; ++n) {
        pooled[n * (C + 1) + C] = 1;
        if (before[n * (C + 1) + C] == 0) std::fill(scale + n * C, scale + (n + 1) * C, 1.0f);
    }
}

}  // namespace

#define TEINET_MOTION_GATE(NAME, S, W)                                                                                \
    extern "C" void motion_gate_##NAME(const void* x, const void* w1, const void* b1, const void* w2, const void* b2, \
                                       const void* w3, const void* b3, float* pooled, float* hidden, float* scale,    \
                                       int64_t clips, int64_t frames, int64_t pixels, int64_t channels,               \
                                       int64_t squeezed, float offset, int threads) {                                 \
        pool((const S*)x, pooled, clips * frames, pixels, channels, channels, threads);                               \
        gate(of_clips(pooled, hidden, scale, clips, frames, channels, squeezed), (const W*)w1, (const W*)b1,          \
             (const W*)w2, (const W*)b2, (const W*)w3, (const W*)b3, hidden, channels, squeezed, offset, threads);    \
    }                                                                                                                 \
    extern "C" void motion_step_##NAME(const void* x, const void* w1, const void* b1, const void* w2, const void* b2, \
                                       const void* w3, const void* b3, const float* before, float* pooled,            \
                                       float* hidden, float* scale, int64_t streams, int64_t pixels,                  \
                                       int64_t channels, int64_t squeezed, float offset, int threads) {               \
        pool((const S*)x, pooled, streams, pixels, channels, channels + 1, threads);                                  \
        gate(of_streams(before, pooled, hidden, scale, streams, channels, squeezed), (const W*)w1, (const W*)b1,      \
             (const W*)w2, (const W*)b2, (const W*)w3, (const W*)b3, hidden, channels, squeezed, offset, threads);    \
        note_first_frames(before, pooled, scale, streams, channels);                                                  \
    }

TEINET_MOTION_GATE(float32_float32, float, float)
TEINET_MOTION_GATE(float32_bfloat16, float, bf16)
TEINET_MOTION_GATE(bfloat16_float32, bf16, float)
TEINET_MOTION_GATE(bfloat16_bfloat16, bf16, bf16)
