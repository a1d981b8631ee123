/* attack: attacks on a model that is there already, as a job of its own. */
#include <getopt.h>
#include <string.h>

#include "cli/cli.h"

/* "linear,linkage" -> ["linear", "linkage"] */
static json_t *list_of(const char *names) {
  json_t *list = json_array();
  while (list && *names) {
    const size_t length = strcspn(names, ",");
    (void)json_array_append_new(list, json_stringn(names, length));
    names += length + (names[length] == ',');
  }
  return list;
}

/* Lays an option over the job; false when it is none of these. */
static bool set_option(json_t *spec, json_t *audit, int option) {
  if (option == 'd')
    (void)json_object_set_new(spec, "dataset", json_string(optarg));
  else if (option == 'a')
    (void)json_object_set_new(audit, "attacks", list_of(optarg));
  else if (option == 'e')
    (void)json_object_set_new(audit, "effort", json_string(optarg));
  else if (option == 'p')
    (void)json_object_set_new(audit, "public_dataset", json_string(optarg));
  else if (option == 't')
    (void)json_object_set_new(audit, "teacher", json_string(optarg));
  else if (option == 'C')
    (void)json_object_set_new(audit, "control", json_string(optarg));
  else
    return false;
  return true;
}

int command_attack(struct cli *cli, int argc, char **argv) {
  json_t *spec = json_pack("{s:s}", "type", "audit"), *audit = json_object();
  bool follow = false;
  int option, code = EXIT_DONE;
  if (json_object_set_new(spec, "audit", audit) < 0) {
    json_decref(spec);
    return cli_error("out of memory");
  }
  while (code == EXIT_DONE && (option = cli_option(cli, argc, argv)) != -1) {
    if (option == 'f')
      follow = true;
    else if (!set_option(spec, audit, option))
      code = cli_usage_option(cli);
  }
  if (code == EXIT_DONE && argc - optind != 1)
    code = cli_usage(cli, "attack takes one model, or the job that made it");
  _cleanup_(freep) char *model = code == EXIT_DONE ? model_resolve(cli, argv[optind], &code) : NULL;
  if (model && code == EXIT_DONE)
    (void)json_object_set_new(spec, "model", json_string(model));
  if (code == EXIT_DONE)
    code = submit_job(cli, spec, follow);
  json_decref(spec);
  return code;
}
