// The backward pass of a 2-D depthwise convolution on a CPU, both gradients at once; teinet.kernels.cpu calls it.
// Libraries compute the two apart and, for small pictures under large kernels, channel by channel.
//
// x, dx: (N, H, W, C), dy: (N, Ho, Wo, C), channels last, float.  w: (K, C), K taps of a kernel, row by row.
// sums: (chunks, K, C), dw of each chunk of pictures.  Either of dx and sums may be null.
//
// A block of channels of one picture is worked on at a time: it stays in the cache, as do the taps' sums. Results are
// independent of the number of threads.

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace {

constexpr int64_t LANES = 32;  // channels worked on together
constexpr int64_t TAPS = 64;   // the largest kernel: 8 x 8

struct Geometry {
    int64_t pictures, height, width, channels, out_height, out_width, kernel_h, kernel_w, stride_h, stride_w, pad_h,
        pad_w, dilation_h, dilation_w;
};

// the taps k, from first until last, for which 0 <= origin + k * dilation < size
inline void inside(int64_t origin, int64_t dilation, int64_t size, int64_t taps, int64_t& first, int64_t& last) {
    first = origin >= 0 ? 0 : (-origin + dilation - 1) / dilation;
    last = std::min(taps, size > origin ? (size - origin + dilation - 1) / dilation : 0);
}

template <bool FULL, bool DX, bool DW>
void block(const float* dy, const float* x, const float* w, float* dx, float* dw, const Geometry& g, int64_t count) {
    const int64_t C = g.channels, width = FULL ? LANES : count;
    for (int64_t oh = 0; oh < g.out_height; ++oh) {
        const int64_t top = oh * g.stride_h - g.pad_h;
        int64_t first_row, last_row;
        inside(top, g.dilation_h, g.height, g.kernel_h, first_row, last_row);
        for (int64_t ow = 0; ow < g.out_width; ++ow) {
            const int64_t left = ow * g.stride_w - g.pad_w;
            int64_t first, last;
            inside(left, g.dilation_w, g.width, g.kernel_w, first, last);
            float d[LANES];
            for (int64_t c = 0; c < width; ++c) d[c] = dy[(oh * g.out_width + ow) * C + c];
            for (int64_t i = first_row; i < last_row; ++i) {
                const int64_t row = (top + i * g.dilation_h) * g.width + left;
                for (int64_t j = first; j < last; ++j) {
                    const int64_t tap = (i * g.kernel_w + j) * LANES, at = (row + j * g.dilation_w) * C;
                    const float* from = x + at;
                    float* to = dx + at;
#pragma omp simd
                    for (int64_t c = 0; c < width; ++c) {
                        if (DW) dw[tap + c] += from[c] * d[c];
                        if (DX) to[c] += w[tap + c] * d[c];
                    }
                }
            }
        }
    }
}

template <bool FULL>
void choose(const float* dy, const float* x, const float* w, float* dx, float* dw, const Geometry& g, int64_t count) {
    auto run = dx ? (dw ? block<FULL, true, true> : block<FULL, true, false>) : block<FULL, false, true>;
    run(dy, x, w, dx, dw, g, count);
}

}  // namespace

extern "C" void depthwise_backward_float32(const float* dy, const float* x, const float* w, float* dx, float* sums,
                                           const int64_t* geometry, int64_t chunks, int threads) {
    Geometry g;
    std::memcpy(&g, geometry, sizeof g);
    const int64_t C = g.channels, blocks = (C + LANES - 1) / LANES, length = (g.pictures + chunks - 1) / chunks;
    const int64_t taps = g.kernel_h * g.kernel_w;
#pragma omp parallel for collapse(2) num_threads(threads) if (threads > 1)
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        for (int64_t b = 0; b < blocks; ++b) {
            const int64_t first = b * LANES, count = std::min(LANES, C - first);
            float near[TAPS * LANES], dw[TAPS * LANES] = {};
            for (int64_t k = 0; k < taps; ++k)
                for (int64_t c = 0; c < count; ++c) near[k * LANES + c] = w[k * C + first + c];
            const int64_t end = std::min(g.pictures, (chunk + 1) * length);
            for (int64_t n = chunk * length; n < end; ++n) {
                const int64_t in = n * g.height * g.width * C + first, out = n * g.out_height * g.out_width * C + first;
                float* to = dx ? dx + in : nullptr;
                if (to)
                    for (int64_t p = 0; p < g.height * g.width; ++p) std::fill(to + p * C, to + p * C + count, 0.0f);
                auto run = count == LANES ? choose<true> : choose<false>;
                run(dy + out, x + in, near, to, sums ? dw : nullptr, g, count);
            }
            if (!sums) continue;
            for (int64_t k = 0; k < taps; ++k)
                std::copy(dw + k * LANES, dw + k * LANES + count, sums + (chunk * taps + k) * C + first);
        }
    }
}
