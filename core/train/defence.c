#include "core/train/defence.h"

#include <stdio.h>

#include "core/base/json.h"
#include "core/train/defence_rows.h"

static const struct defence_row *const rows[DEFENCES] = {
    [DEFENCE_NEGATIVE_LS] = &defence_negative_ls, [DEFENCE_BIDO] = &defence_bido,
    [DEFENCE_TL_DMI] = &defence_tl_dmi,           [DEFENCE_AT_AT] = &defence_at_at,
    [DEFENCE_DP_SGD] = &defence_dp_sgd,
};

const struct defence_traits *defence_traits(enum defence_method method) {
  return &rows[method]->traits;
}

bool job_spec_pretrained(const struct job_spec *spec) {
  for (uint32_t i = 0; i < spec->defences.count; i++)
    if (defence_traits(spec->defences.list[i].method)->pretrained)
      return true;
  return false;
}

bool job_spec_public_constants(const struct job_spec *spec) {
  for (uint32_t i = 0; i < spec->defences.count; i++)
    if (defence_traits(spec->defences.list[i].method)->public_constants)
      return true;
  return false;
}

/* ---- what does not go together ---- */

static const struct {
  enum defence_method a, b;
  const char *reason;
} apart[] = {
    {DEFENCE_BIDO, DEFENCE_DP_SGD,
     "dependence is a figure of a whole batch, of which no image's part can be clipped"},
    {DEFENCE_AT_AT, DEFENCE_TL_DMI, "pushing needs the gradient of the input, which ends at frozen blocks"},
    {DEFENCE_AT_AT, DEFENCE_DP_SGD, "what was pushed would have gradients of its own that nobody clips"},
};

static const char *why_apart(enum defence_method a, enum defence_method b) {
  for (size_t i = 0; i < ARRAY_SIZE(apart); i++)
    if ((apart[i].a == a && apart[i].b == b) || (apart[i].a == b && apart[i].b == a))
      return apart[i].reason;
  return a == b ? "once is enough" : NULL;
}

int defences_check(const struct job_spec *spec, struct spec_problems *problems) {
  int r = 0;
  for (uint32_t i = 0; i < spec->defences.count && r == 0; i++) {
    const struct defence_choice *choice = &spec->defences.list[i];
    char pointer[32];
    (void)snprintf(pointer, sizeof(pointer), "/defences/%u", i);
    for (uint32_t k = 0; k < i && r == 0; k++) {
      const enum defence_method other = spec->defences.list[k].method;
      const char *reason = why_apart(choice->method, other);
      if (reason)
        r = spec_problems_add(problems, pointer, "conflict", NULL, "%s and %s do not go together: %s",
                              defence_traits(other)->name, defence_traits(choice->method)->name, reason);
    }
    if (r == 0 && rows[choice->method]->check)
      r = rows[choice->method]->check(spec, choice, pointer, problems);
  }
  return r;
}

/* ---- the trainer's side ---- */

void defences_choose(struct trainer *t) {
  t->defence_count = t->spec->defences.count;
  for (uint32_t i = 0; i < t->defence_count; i++) {
    const struct defence_choice *choice = &t->spec->defences.list[i];
    t->defence[i] = (struct defence){.row = rows[choice->method], .choice = choice};
    if (t->defence[i].row->gradients)
      t->whole_step = &t->defence[i];
  }
}

void defences_describe(const struct trainer *t, struct graph_config *config, struct arch_options *options) {
  for (const struct defence *d = t->defence; d < t->defence + t->defence_count; d++)
    if (d->row->describe)
      d->row->describe(d, config, options);
}

int defences_setup(struct trainer *t, const struct job_inputs *inputs, struct guise_error *err) {
  int r = 0;
  for (uint32_t i = 0; i < t->defence_count && r == 0; i++)
    if (t->defence[i].row->setup)
      r = t->defence[i].row->setup(t, &t->defence[i], inputs, err);
  return r;
}

void defences_done(struct trainer *t) {
  for (const struct defence *d = t->defence; d < t->defence + t->defence_count; d++)
    if (d->row->release && d->state)
      d->row->release(d->state);
  t->defence_count = 0;
}

void defences_head(const struct trainer *t, struct head_options *options) {
  for (const struct defence *d = t->defence; d < t->defence + t->defence_count; d++)
    if (d->row->head)
      d->row->head(t, d, options);
}

int defences_after_forward(struct trainer *t, double *loss, struct guise_error *err) {
  int r = 0;
  for (const struct defence *d = t->defence; d < t->defence + t->defence_count; d++)
    if (r == 0 && d->row->after_forward)
      r = d->row->after_forward(t, d, loss, err);
  return r;
}

int defences_after_backward(struct trainer *t, const struct head_options *options, double *loss,
                            struct guise_error *err) {
  int r = 0;
  for (const struct defence *d = t->defence; d < t->defence + t->defence_count; d++)
    if (r == 0 && d->row->after_backward)
      r = d->row->after_backward(t, d, options, loss, err);
  return r;
}

int defences_gradients(struct trainer *t, const struct head_options *options, double *ret_loss,
                       struct guise_error *err) {
  return t->whole_step->row->gradients(t, t->whole_step, options, ret_loss, err);
}

void defences_finish(struct trainer *t) {
  for (const struct defence *d = t->defence; d < t->defence + t->defence_count; d++)
    if (d->row->finish)
      d->row->finish(t, d);
}

/* ---- the attacker's side ---- */

void job_spec_share(const struct job_spec *spec, struct attack_loss *loss) {
  uint32_t granted = 0;
  for (uint32_t i = 0; i < spec->defences.count; i++) {
    const struct defence_choice *choice = &spec->defences.list[i];
    const struct defence_row *row = rows[choice->method];
    if (row->share)
      row->share(choice, loss);
    if (row->traits.granted && granted < ATTACK_GRANTED_MAX)
      loss->granted[granted++] = row->traits.granted;
  }
}

/* ---- the report's side ---- */

static json_t *formal_json(const struct trainer *t, const struct defence *d) {
  struct mask_guarantee guarantee;
  if (!d->row->guarantee || !d->row->guarantee(t, d, &guarantee))
    return json_null();
  return json_pack("{s:s, s:f, s:f, s:s}", "guarantee", guarantee.text, "epsilon", guarantee.epsilon, "delta",
                   guarantee.delta, "unit", guarantee.unit);
}

json_t *defences_json(const struct trainer *t) {
  json_t *list = json_array();
  for (const struct defence *d = t->defence; d < t->defence + t->defence_count; d++) {
    const struct defence_traits *traits = &d->row->traits;
    json_t *parameters = json_object();
    for (uint32_t i = 0; i < traits->parameter_count; i++)
      parameters = json_put(parameters, traits->parameters[i].name, json_real(d->choice->parameter[i]));
    list =
        json_append(list, json_pack("{s:s, s:s, s:o, s:o}", "method", traits->name, "summary",
                                    traits->summary, "parameters", parameters, "formal", formal_json(t, d)));
  }
  return list;
}
