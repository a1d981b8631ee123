/* A face is a stack of soft-edged shapes in face coordinates (head about 1 high, centre at the origin), lit
 * by a direction, seen through a small rotation, scale and shift. What belongs to the person comes from
 * (seed, identity), the rest from (seed, identity, image). */
#include "core/image/synth.h"

#include <math.h>

#include "core/base/base.h"
#include "core/base/philox.h"

struct colour {
  float r, g, b;
};

struct person {
  struct colour skin, hair, iris, lips;
  float head_width, head_height, jaw;
  float eye_distance, eye_height, eye_size, eye_slant;
  float brow_height, brow_thickness, brow_tilt;
  float nose_length, nose_width;
  float mouth_height, mouth_width, lip;
  float hairline, hair_side;
  float beard, glasses, ear;
};

struct view {
  float angle, scale, dx, dy, turn, nod;
  float light_x, light_y, light, contrast;
  float smile, open, gaze, blink;
  struct colour ground;
  float noise;
};

static float between(struct rng *rng, float low, float high) {
  return low + (high - low) * rng_uniform(rng);
}

static struct colour mix_colour(struct colour a, struct colour b, float t) {
  return (struct colour){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

static struct person draw_person(struct rng *rng) {
  static const struct colour light_skin = {.96f, .82f, .72f}, dark_skin = {.36f, .23f, .17f};
  static const struct colour hairs[6] = {{.08f, .06f, .05f}, {.25f, .15f, .08f}, {.45f, .28f, .14f},
                                         {.82f, .68f, .40f}, {.62f, .24f, .10f}, {.70f, .70f, .70f}};
  struct person p;
  p.skin = mix_colour(light_skin, dark_skin, rng_uniform(rng));
  p.hair = hairs[rng_below(rng, 6)];
  p.iris = mix_colour((struct colour){.20f, .12f, .06f}, (struct colour){.25f, .45f, .60f}, rng_uniform(rng));
  p.lips = mix_colour(p.skin, (struct colour){.75f, .20f, .25f}, between(rng, .35f, .8f));
  p.head_width = between(rng, .60f, .78f);
  p.head_height = between(rng, .84f, 1.0f);
  p.jaw = between(rng, .65f, 1.0f);
  p.eye_distance = between(rng, .24f, .36f);
  p.eye_height = between(rng, -.16f, -.02f);
  p.eye_size = between(rng, .075f, .125f);
  p.eye_slant = between(rng, -.25f, .25f);
  p.brow_height = between(rng, .12f, .22f);
  p.brow_thickness = between(rng, .015f, .05f);
  p.brow_tilt = between(rng, -.35f, .35f);
  p.nose_length = between(rng, .22f, .40f);
  p.nose_width = between(rng, .06f, .14f);
  p.mouth_height = between(rng, .40f, .56f);
  p.mouth_width = between(rng, .16f, .30f);
  p.lip = between(rng, .025f, .065f);
  p.hairline = between(rng, -.80f, -.42f);
  p.hair_side = between(rng, 0, .14f);
  p.beard = rng_uniform(rng) < .25f ? between(rng, .35f, .8f) : 0;
  p.glasses = rng_uniform(rng) < .2f ? 1.0f : 0;
  p.ear = between(rng, .05f, .12f);
  return p;
}

static struct view draw_view(struct rng *rng) {
  struct view v;
  v.angle = between(rng, -.16f, .16f);
  v.scale = between(rng, .90f, 1.10f);
  v.dx = between(rng, -.06f, .06f);
  v.dy = between(rng, -.06f, .06f);
  v.turn = between(rng, -.10f, .10f);
  v.nod = between(rng, -.05f, .05f);
  v.light_x = between(rng, -1, 1);
  v.light_y = between(rng, -1, .2f);
  v.light = between(rng, .75f, 1.15f);
  v.contrast = between(rng, .10f, .35f);
  v.smile = between(rng, -.4f, 1);
  v.open = rng_uniform(rng) < .3f ? rng_uniform(rng) : 0;
  v.gaze = between(rng, -.35f, .35f);
  v.blink = rng_uniform(rng) < .08f ? .25f : between(rng, .75f, 1.1f);
  v.ground = (struct colour){rng_uniform(rng), rng_uniform(rng), rng_uniform(rng)};
  v.noise = between(rng, .005f, .03f);
  return v;
}

/* Coverage 0..1 of an ellipse with an edge about one pixel soft. */
static float ellipse(float x, float y, float cx, float cy, float rx, float ry, float soft) {
  float dx = (x - cx) / rx, dy = (y - cy) / ry;
  float distance = (sqrtf(dx * dx + dy * dy) - 1) * MIN(rx, ry);
  return MIN(MAX(.5f - distance / soft, 0.0f), 1.0f);
}

static void lay(struct colour *under, struct colour over, float cover) {
  *under = mix_colour(*under, over, cover);
}

static struct colour shade(struct colour c, float by) {
  return (struct colour){c.r * by, c.g * by, c.b * by};
}

static void draw_eye(struct colour *c, const struct person *p, const struct view *v, float side, float x,
                     float y, float soft) {
  float cx = side * p->eye_distance + v->turn, cy = p->eye_height + v->nod;
  float u = x - cx, w = (y - cy) - side * u * p->eye_slant;
  float ry = p->eye_size * .55f * v->blink, inside = ellipse(u, w, 0, 0, p->eye_size, MAX(ry, .008f), soft);
  float iris = ellipse(u, w, v->gaze * p->eye_size * .5f, 0, p->eye_size * .48f, p->eye_size * .48f, soft);
  lay(c, shade(p->skin, .80f),
      .5f * ellipse(u, w, 0, -.01f, p->eye_size * 1.3f, p->eye_size * .95f, 6 * soft));
  lay(c, (struct colour){.95f, .95f, .93f}, inside);
  lay(c, p->iris, inside * iris);
  lay(c, (struct colour){.03f, .03f, .03f},
      inside * ellipse(u, w, v->gaze * p->eye_size * .5f, 0, p->eye_size * .22f, p->eye_size * .22f, soft));
  float by = y - (cy - p->brow_height) - side * u * p->brow_tilt + u * u * 2.0f;
  lay(c, p->hair, ellipse(u, by, 0, 0, p->eye_size * 1.35f, p->brow_thickness, soft));
  if (p->glasses > 0) {
    float outer = ellipse(u, y - cy, 0, 0, p->eye_size * 1.6f, p->eye_size * 1.35f, soft);
    float inner = ellipse(u, y - cy, 0, 0, p->eye_size * 1.42f, p->eye_size * 1.18f, soft);
    lay(c, (struct colour){.08f, .08f, .10f}, outer * (1 - inner));
  }
}

static void draw_nose(struct colour *c, const struct person *p, const struct view *v, float x, float y,
                      float soft) {
  float top = p->eye_height + v->nod, tip = top + p->nose_length, cx = v->turn * 1.4f;
  float ridge = ellipse(x, y, cx - v->light_x * .02f, (top + tip) / 2, p->nose_width * .35f,
                        p->nose_length * .55f, 8 * soft);
  lay(c, shade(p->skin, 1.12f), .6f * ridge);
  float bulb = ellipse(x, y, cx, tip, p->nose_width, p->nose_width * .6f, 5 * soft);
  lay(c, shade(p->skin, .90f), .6f * bulb);
  for (int side = -1; side <= 1; side += 2)
    lay(c, shade(p->skin, .35f),
        ellipse(x, y, cx + (float)side * p->nose_width * .5f, tip + p->nose_width * .3f, p->nose_width * .22f,
                p->nose_width * .14f, 2 * soft));
}

static void draw_mouth(struct colour *c, const struct person *p, const struct view *v, float x, float y,
                       float soft) {
  float cx = v->turn * 1.1f, cy = p->mouth_height + v->nod, u = (x - cx) / p->mouth_width;
  float w = y - cy + v->smile * .05f * (u * u - .4f);
  float open = v->open * .06f;
  lay(c, p->lips, ellipse(x, cy + w, cx, cy, p->mouth_width, p->lip + open, soft));
  lay(c, shade(p->lips, .35f), ellipse(x, cy + w, cx, cy, p->mouth_width * .92f, .007f + open * .8f, soft));
  if (v->open > .4f)
    lay(c, (struct colour){.95f, .94f, .90f},
        ellipse(x, cy + w, cx, cy - open * .3f, p->mouth_width * .7f, open * .35f, soft));
}

/* Colour at face coordinates; soft: width of a pixel. */
static struct colour face_at(const struct person *p, const struct view *v, float x, float y, float soft) {
  struct colour c = shade(v->ground, .6f + .3f * (1 - y) * .5f);
  float narrow = y > .2f ? 1 - (1 - p->jaw) * (y - .2f) * .8f : 1;
  float head = ellipse(x / narrow, y, 0, 0, p->head_width, p->head_height, soft);
  lay(&c, shade(v->ground, .35f), ellipse(x, y, 0, 1.35f, .95f, .48f, soft));
  lay(&c, shade(p->skin, .75f), ellipse(x, y, 0, .95f, p->head_width * .55f, .5f, soft));
  lay(&c, p->hair,
      ellipse(x, y, 0, -.10f, p->head_width + .05f + p->hair_side, p->head_height + .05f, soft) *
          (y < .5f ? 1.0f : 0.0f));
  for (int side = -1; side <= 1; side += 2)
    lay(&c, shade(p->skin, .85f),
        ellipse(x, y, (float)side * (p->head_width + .01f), p->eye_height + .08f, p->ear, p->ear * 1.6f,
                soft));
  float light = v->light * (1 + v->contrast * (x * v->light_x + y * v->light_y));
  struct colour face = shade(p->skin, 1 - .25f * (x * x + y * y * .5f));
  if (p->beard > 0)
    lay(&face, p->hair, p->beard * ellipse(x, y, 0, .72f, p->head_width * .9f, .42f, 20 * soft));
  draw_nose(&face, p, v, x, y, soft);
  draw_mouth(&face, p, v, x, y, soft);
  draw_eye(&face, p, v, -1, x, y, soft);
  draw_eye(&face, p, v, 1, x, y, soft);
  float fringe = p->hairline + .18f * x * x + .05f * sinf(9 * x);
  lay(&face, p->hair, MIN(MAX(.5f + (fringe - y) / (2 * soft), 0.0f), 1.0f));
  lay(&c, face, head);
  return shade(c, light);
}

static uint8_t to_byte(float value) {
  return (uint8_t)MIN(MAX(value * 255.0f + .5f, 0.0f), 255.0f);
}

void synth_face(uint64_t seed, uint32_t identity, uint32_t image, uint32_t size, uint8_t *ret_rgb) {
  struct rng rng;
  rng_init(&rng, seed, RNG_SYNTH, identity, 0);
  struct person person = draw_person(&rng);
  rng_init(&rng, seed, RNG_SYNTH, identity, image + 1);
  struct view view = draw_view(&rng);
  float cosine = cosf(view.angle), sine = sinf(view.angle), pixel = 2.3f / (float)size / view.scale;
  for (uint32_t y = 0; y < size; y++)
    for (uint32_t x = 0; x < size; x++) {
      float u = ((float)x + .5f - .5f * (float)size) * pixel - view.dx,
            w = ((float)y + .5f - .5f * (float)size) * pixel - view.dy;
      struct colour c = face_at(&person, &view, cosine * u + sine * w, cosine * w - sine * u, pixel);
      float grain = view.noise * (rng_uniform(&rng) + rng_uniform(&rng) - 1);
      uint8_t *out = ret_rgb + ((size_t)y * size + x) * 3;
      out[0] = to_byte(c.r + grain);
      out[1] = to_byte(c.g + grain);
      out[2] = to_byte(c.b + grain);
    }
}
