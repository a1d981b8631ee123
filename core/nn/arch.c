#include "core/nn/arch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH_STEP 16.0f
#define MOBILE_BLOCKS 15u
#define GROUP_CHANNELS 16u /* of a group norm's groups; every width is a multiple */

static uint32_t scaled(const struct arch_options *options, uint32_t channels) {
  const float steps = roundf((float)channels * options->width / WIDTH_STEP);
  return (uint32_t)(fmaxf(steps, 1) * WIDTH_STEP);
}

/* Layer names are made here: "body.3" + ".conv1". */
struct name {
  char text[64];
};

static struct name join(const char *prefix, const char *layer) {
  struct name name;
  (void)snprintf(name.text, sizeof(name.text), "%.40s.%.20s", prefix, layer);
  return name;
}

static int conv(struct graph *graph, int x, const char *prefix, const char *layer, uint32_t channels,
                uint32_t kernel, uint32_t stride) {
  return graph_conv(graph, x, join(prefix, layer).text,
                    &(struct conv_options){
                        .out_channels = channels, .kernel = kernel, .stride = stride, .padding = kernel / 2});
}

/* channels: of x. */
static int norm(struct graph *graph, int x, const char *prefix, const char *layer,
                const struct arch_options *options, uint32_t channels) {
  const struct name name = join(prefix, layer);
  return options->norm == ARCH_NORM_GROUP ? graph_group_norm(graph, x, name.text, channels / GROUP_CHANNELS)
                                          : graph_batch_norm(graph, x, name.text);
}

/* An embedding is one group: groups of it would lose a mean and a length each. */
static int embedding_norm(struct graph *graph, int x, const struct arch_options *options) {
  return norm(graph, x, "tail", "embedding_norm", options, GROUP_CHANNELS);
}

static int stem(struct graph *graph, int x, const struct arch_options *options, uint32_t channels,
                uint32_t stride) {
  x = conv(graph, x, "stem", "conv", channels, 3, stride);
  x = norm(graph, x, "stem", "norm", options, channels);
  return graph_prelu(graph, x, "stem.prelu");
}

struct stage {
  uint32_t in, out, stride;
};

/* The residual block of ArcFace's IResNet (Deng et al., CVPR 2019): BN conv3x3 BN PReLU conv3x3/stride BN,
 * plus the input, which passes a conv1x1 and a BN where its shape changes or only the stride is 2. */
static int block(struct graph *graph, int x, const char *prefix, const struct arch_options *options,
                 const struct stage *stage) {
  const uint32_t in = scaled(options, stage->in), out = scaled(options, stage->out);
  int y = norm(graph, x, prefix, "norm1", options, in);
  y = conv(graph, y, prefix, "conv1", out, 3, 1);
  y = norm(graph, y, prefix, "norm2", options, out);
  y = graph_prelu(graph, y, join(prefix, "prelu").text);
  y = conv(graph, y, prefix, "conv2", out, 3, stage->stride);
  y = norm(graph, y, prefix, "norm3", options, out);
  if (stage->stride > 1 || stage->in != stage->out) {
    x = conv(graph, x, prefix, "shortcut.conv", out, 1, stage->stride);
    x = norm(graph, x, prefix, "shortcut.norm", options, out);
  }
  return graph_add(graph, y, x);
}

static int tail(struct graph *graph, int x, const struct arch_options *options, uint32_t channels) {
  x = norm(graph, x, "tail", "norm", options, scaled(options, channels));
  x = graph_dropout(graph, x, options->dropout);
  x = graph_linear(graph, x, "tail.linear", options->embedding, true);
  return embedding_norm(graph, x, options);
}

static int body(struct graph *graph, int x, const struct arch_options *options, const struct stage *stages,
                uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    char prefix[16];
    (void)snprintf(prefix, sizeof(prefix), "body.%u", i);
    x = block(graph, x, prefix, options, &stages[i]);
    if (i + 1 == MIN(options->frozen, count))
      (void)graph_freeze(graph); /* an error stays with the graph */
    if (options->taps && (i + 1 == count || stages[i + 1].stride > 1))
      x = graph_tap(graph, x);
  }
  return x;
}

bool arch_freezes(const char *parameter, uint32_t frozen) {
  static const char body[] = "body.";
  if (frozen == 0)
    return false;
  if (strncmp(parameter, body, sizeof(body) - 1) == 0)
    return strtoul(parameter + sizeof(body) - 1, NULL, 10) < frozen;
  return strncmp(parameter, "stem.", 5) == 0;
}

static int template_input(struct graph *graph, const struct arch_options *options) {
  return graph_input(graph, options->mask.channels, options->grid, options->grid);
}

/* What a network of pixels sees, and how many of them a side has. */
static int picture(struct graph *graph, const struct arch_options *options) {
  const int x = template_input(graph, options);
  return options->inverse ? graph_block_idct(graph, x, &options->mask) : x;
}
static uint32_t picture_side(const struct arch_options *options) {
  return options->inverse ? options->grid * 8 : options->grid;
}

static int describe_freq_ir(struct graph *graph, const struct arch_options *options) {
  static const struct stage stages[] = {{32, 32, 2},   {32, 64, 1},   {64, 64, 1},  {64, 128, 2},
                                        {128, 128, 1}, {128, 256, 2}, {256, 256, 1}};
  int x = picture(graph, options);
  x = stem(graph, x, options, scaled(options, 32), 2);
  x = body(graph, x, options, stages, ARRAY_SIZE(stages));
  return tail(graph, x, options, 256);
}

static int describe_freq_conv(struct graph *graph, const struct arch_options *options) {
  static const struct stage stages[] = {
      {64, 64, 1}, {64, 128, 1}, {128, 128, 1}, {128, 256, 2}, {256, 256, 1}};
  int x = stem(graph, template_input(graph, options), options, scaled(options, 64), 1);
  x = body(graph, x, options, stages, ARRAY_SIZE(stages));
  return tail(graph, x, options, 256);
}

/* IResNet (ArcFace's ResNet): four stages of `depths` blocks, the first of each with stride 2. */
static int describe_iresnet(struct graph *graph, const struct arch_options *options,
                            const uint32_t depths[4]) {
  struct stage stages[32];
  uint32_t count = 0, in = 64;
  for (uint32_t i = 0; i < 4; i++)
    for (uint32_t k = 0; k < depths[i] && count < ARRAY_SIZE(stages); k++) {
      stages[count++] = (struct stage){in, 64u << i, k == 0 ? 2 : 1};
      in = 64u << i;
    }
  int x = picture(graph, options);
  x = stem(graph, x, options, scaled(options, 64), 1);
  x = body(graph, x, options, stages, count);
  return tail(graph, x, options, 512);
}

static int describe_iresnet18(struct graph *graph, const struct arch_options *options) {
  return describe_iresnet(graph, options, (const uint32_t[4]){2, 2, 2, 2});
}

static int describe_iresnet50(struct graph *graph, const struct arch_options *options) {
  return describe_iresnet(graph, options, (const uint32_t[4]){3, 4, 14, 3});
}

/* Convolution, norm and, when `slope`, PReLU. */
static int unit(struct graph *graph, int x, const char *prefix, const struct arch_options *options,
                const struct conv_options *conv, bool slope) {
  x = graph_conv(graph, x, join(prefix, "conv").text, conv);
  x = norm(graph, x, prefix, "norm", options, conv->out_channels);
  return slope ? graph_prelu(graph, x, join(prefix, "prelu").text) : x;
}

static int depthwise(struct graph *graph, int x, const char *prefix, const struct arch_options *options,
                     uint32_t channels, uint32_t kernel, uint32_t stride, uint32_t padding, bool slope) {
  return unit(graph, x, prefix, options,
              &(struct conv_options){.out_channels = channels,
                                     .kernel = kernel,
                                     .stride = stride,
                                     .padding = padding,
                                     .groups = channels},
              slope);
}

static int pointwise(struct graph *graph, int x, const char *prefix, const struct arch_options *options,
                     uint32_t channels, bool slope) {
  return unit(graph, x, prefix, options,
              &(struct conv_options){.out_channels = channels, .kernel = 1, .stride = 1}, slope);
}

/* MobileFaceNet (Chen et al., arXiv 1804.07573): inverted bottlenecks, then a depthwise convolution over what
 * is left of the image instead of a pooling. */
static int describe_mobilefacenet(struct graph *graph, const struct arch_options *options) {
  static const struct {
    uint32_t expansion, channels, repeats, stride;
  } stages[] = {{2, 64, 5, 2}, {4, 128, 1, 2}, {2, 128, 6, 1}, {4, 128, 1, 2}, {2, 128, 2, 1}};
  const uint32_t first = scaled(options, 64), last = scaled(options, 512);
  uint32_t in = first, side = picture_side(options) / 2, index = 0;
  int x = picture(graph, options);
  x = stem(graph, x, options, first, 2);
  x = depthwise(graph, x, "stem.depthwise", options, first, 3, 1, 1, true);
  for (uint32_t i = 0; i < ARRAY_SIZE(stages); i++)
    for (uint32_t k = 0; k < stages[i].repeats; k++, index++) {
      const uint32_t out = scaled(options, stages[i].channels), stride = k == 0 ? stages[i].stride : 1;
      char prefix[16];
      (void)snprintf(prefix, sizeof(prefix), "body.%u", index);
      int y = pointwise(graph, x, join(prefix, "expand").text, options, in * stages[i].expansion, true);
      y = depthwise(graph, y, join(prefix, "depthwise").text, options, in * stages[i].expansion, 3, stride, 1,
                    true);
      y = pointwise(graph, y, join(prefix, "project").text, options, out, false);
      x = stride == 1 && in == out ? graph_add(graph, y, x) : y;
      side = (side + stride - 1) / stride;
      in = out;
      if (index + 1 == MIN(options->frozen, MOBILE_BLOCKS))
        (void)graph_freeze(graph);
      if (options->taps && k + 1 == stages[i].repeats &&
          (i + 1 == ARRAY_SIZE(stages) || stages[i + 1].stride > 1))
        x = graph_tap(graph, x);
    }
  x = pointwise(graph, x, "tail.expand", options, last, true);
  x = depthwise(graph, x, "tail.depthwise", options, last, side, 1, 0, false);
  x = graph_dropout(graph, x, options->dropout);
  x = graph_linear(graph, x, "tail.linear", options->embedding, false);
  return embedding_norm(graph, x, options);
}

static const struct {
  const char *name;
  uint32_t embedding;
  int (*describe)(struct graph *graph, const struct arch_options *options);
} architectures[ARCHS] = {
    [ARCH_FREQ_IR] = {"freq_ir", 128, describe_freq_ir},
    [ARCH_FREQ_CONV] = {"freq_conv", 128, describe_freq_conv},
    [ARCH_IRESNET18] = {"iresnet18", 512, describe_iresnet18},
    [ARCH_IRESNET50] = {"iresnet50", 512, describe_iresnet50},
    [ARCH_MOBILEFACENET] = {"mobilefacenet", 512, describe_mobilefacenet},
};

const char *arch_name(enum arch arch) {
  return arch < ARCHS ? architectures[arch].name : "unknown";
}

static const char *const norms[ARCH_NORMS] = {[ARCH_NORM_BATCH] = "batch", [ARCH_NORM_GROUP] = "group"};

const char *arch_norm_name(enum arch_norm norm) {
  return norm < ARCH_NORMS ? norms[norm] : "unknown";
}

int arch_norm_from_name(const char *name, enum arch_norm *ret_norm) {
  for (enum arch_norm norm = 0; norm < ARCH_NORMS; norm++)
    if (strcmp(norms[norm], name) == 0) {
      *ret_norm = norm;
      return 0;
    }
  return -ENOENT;
}

int arch_from_name(const char *name, enum arch *ret_arch) {
  for (enum arch arch = 0; arch < ARCHS; arch++)
    if (strcmp(architectures[arch].name, name) == 0) {
      *ret_arch = arch;
      return 0;
    }
  return -ENOENT;
}

uint32_t arch_default_embedding(enum arch arch) {
  return arch < ARCHS ? architectures[arch].embedding : 0;
}

int arch_describe(struct graph *graph, enum arch arch, const struct arch_options *options) {
  if (arch >= ARCHS || !(options->width > 0 && options->width <= 16) || options->embedding == 0)
    return -EINVAL;
  return graph_output(graph, architectures[arch].describe(graph, options));
}
