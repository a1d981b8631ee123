/* The commands of guise and their options: see struct cli_option for what is made from these tables. */
#include <getopt.h>

#include "cli/cli.h"

#define OPTIONS_MAX 16

const struct cli_option cli_common_options[] = {
    {"url", 'u', "URL", 0,
     "the daemon: http://HOST:PORT, https://HOST:PORT or unix:PATH (default: $GUISE_URL, "
     "else " CLI_DEFAULT_URL ")"},
    {"ca", 'c', "FILE", 0,
     "certificates to trust at https://, in PEM form (default: $GUISE_CA, else the system's)"},
    {"json", 'j', NULL, 0, "print what the daemon answered as JSON"},
    {"version", 'v', NULL, 0, "print the version"},
    {"help", 'h', NULL, OPTION_SHORT, "tell how guise, or the command, is used"},
    {0}};

static const struct cli_option dataset_add_options[] = {
    {"size", 's', "PX", 0,
     "side of the images in the packed data set, 16..224, a multiple of 8 (default 112)"},
    {"no-wait", 'n', NULL, 0, "return when the upload is done, before the images are decoded"},
    {0}};

static const struct cli_option submit_options[] = {
    {"dataset", 'd', "D", 0, "name or id of the data set to train on"},
    {"mask", 'm', "M", 0, "masking method, for example ahm (default), mixup, minusface or none"},
    {"defence", 'D', "M", OPTION_REPEATED,
     "of the weights, with its default numbers: negative_ls, bido, tl_dmi, at_at or dp_sgd"},
    {"epochs", 'e', "N", 0, "passes over the data"},
    {"set", 's', "POINTER=VALUE", OPTION_REPEATED,
     "any field, by JSON pointer: --set /train/batch=32 --set /model/arch=mobilefacenet"},
    {"follow", 'f', NULL, 0, "show progress until the job ends"},
    {"dry-run", 'y', NULL, 0, "have the job checked, and submit nothing"},
    {0}};

static const struct cli_option attack_options[] = {
    {"attacks", 'a', "A,B", 0, "which (default: all that what is given below allows)"},
    {"effort", 'e', "quick|standard|thorough", 0, "how hard they try (default standard)"},
    {"dataset", 'd', "D", 0, "whose people are attacked (default: those held out of the model's training)"},
    {"public", 'p', "P", 0, "data set of other people, from which attackers learn"},
    {"teacher", 't', "M", 0,
     "model of other people, from which attackers learn (default: trained on P, which takes long)"},
    {"control", 'C', "M", 0,
     "undefended model of the same people, attacked as well to compare with (default: a small one is "
     "trained)"},
    {"follow", 'f', NULL, 0, "show progress until the job ends"},
    {0}};

static const struct cli_option ls_options[] = {
    {"state", 's', "STATE", OPTION_REPEATED,
     "only jobs that are queued, running, pausing, paused, canceling, canceled, succeeded or failed"},
    {"label", 'L', "KEY[:VALUE]", 0, "only jobs with this label"},
    {"limit", 'l', "N", 0, "the newest N, 1..100 (default: all)"},
    {0}};

static const struct cli_option events_options[] = {
    {"after", 'a', "N", 0, "begin behind row N (default 0: the first)"}, {0}};

static const struct cli_option cancel_options[] = {
    {"state", 's', "STATE", OPTION_REPEATED, "all jobs that are queued, running, pausing or paused"},
    {"label", 'l', "KEY[:VALUE]", 0, "all jobs with this label; with --state those that are both"},
    {0}};

static const struct cli_option metrics_options[] = {
    {"name", 'n', "NAME", 0, "only this metric"},
    {"steps", 's', NULL, 0, "a row a step instead of a row an epoch"},
    {0}};

static const struct cli_option get_options[] = {
    {"output", 'o', "DIR", OPTION_SHORT, "into this directory (default: the current one)"},
    {"unsafe", 'u', NULL, 0, "also from a model whose attacks have not run"},
    {"key", 'k', NULL, 0, "of a keyed model also its key, and the ONNX files, in which it stands"},
    {0}};

static const struct cli_option embed_options[] = {
    {"unsafe", 'u', NULL, 0, "also with a model whose attacks have not run"}, {0}};

static const struct cli_option verify_options[] = {
    {"far", 'f', "0.1|0.01|0.001", 0,
     "false accept rate (default: the smallest that the model's verification has enough pairs for)"},
    {"unsafe", 'u', NULL, 0, "also with a model whose attacks have not run"},
    {0}};

static const struct cli_option study_run_options[] = {
    {"output", 'o', "DIR", OPTION_SHORT | OPTION_REQUIRED, "folder for the results"},
    {"parallel", 'p', "N", 0,
     "at most N of the study's jobs queued or running (default: as many as run, and one waiting)"},
    {"retry", 'r', NULL, 0, "run jobs that failed or were canceled once more"},
    {0}};

static const struct cli_option study_report_options[] = {
    {"baseline", 'b', "CELL", 0, "also the differences of the other cells to this one, over equal seeds"},
    {0}};

static const struct cli_option synth_options[] = {
    {"identities", 'i', "N", 0, "people (default 32)"},
    {"images", 'n', "N", 0, "images of each (default 20)"},
    {"seed", 's', "S", 0, "number that all is drawn from (default 1)"},
    {"size", 'p', "PX", 0, "side of an image, 32..224 (default 112)"},
    {0}};

static const struct cli_option mask_options[] = {
    {"model", 'm', "FILE", OPTION_REQUIRED,
     "whose mask is used: a model.safetensors, or a model's or a job's id; train it on public faces"},
    {"output", 'o', "FILE", OPTION_SHORT | OPTION_REQUIRED, "the file of templates"},
    {"mixes", 'n', "N", 0, "templates that each face leads, 1..16; more tell more of it (default 1)"},
    {"k", 'k', "K", 0, "faces in a template, 1..6 (default: drawn as the model's policy did)"},
    {"half", 'f', NULL, 0, "half the size: numbers of 16 bits"},
    {"names", 'N', "FILE", 0, "write down which number stands for which person; keep it to yourself"},
    {"seed", 's', "S", 0,
     "number that all is drawn from; whoever knows it knows which faces were mixed (default: a secret one)"},
    {"unsafe", 'U', NULL, 0, "also with a model whose attacks have not run"},
    {0}};

static const struct cli_option token_add_options[] = {
    {"scope", 's', "SCOPE[,SCOPE]", OPTION_REQUIRED | OPTION_REPEATED,
     "datasets:read, datasets:write, jobs:read, jobs:write, models:read, models:write, models:use (embed and "
     "verify), models:private (reports that show faces), models:head (class heads, with the people's names), "
     "admin (tokens, "
     "the audit trail), metrics:read (/metrics of the daemon)"},
    {"owner", 'o', "OWNER", 0, "who holds it (default: NAME)"},
    {"expires", 'e', "DAYS", 0, "0 is never (default 365)"},
    {0}};

static const struct cli_option audit_options[] = {
    {"actor", 'a', "WHO", 0, "only what this one did: a token's id, uid:N or loopback"},
    {"object", 'o', "ID", 0, "only what was done to this data set, job, model or token"},
    {"limit", 'l', "N", 0, "rows at most, 1..100 (default 100)"},
    {0}};

static const struct cli_option ready_options[] = {
    {"wait", 'w', "SECONDS", 0, "ask until it is, for this long (default 0)"}, {0}};

const struct command cli_commands[] = {
    {"dataset add", "NAME PATH", "upload faces: a folder, .tar, .tar.gz or .zip",
     "PATH holds IDENTITY/IMAGE: one folder a person, aligned face crops as JPEG, PNG, PGM or PPM. Files "
     "that "
     "are no images are rejected one by one and never fail the data set. Of a folder, links to images and to "
     "people's folders are followed; hidden files, deeper folders and files beside the people's folders are "
     "left out, and counted. A file of templates, which guise mask made, is uploaded the same way.",
     dataset_add_options, command_dataset_add},
    {"dataset ls", "", "list data sets", NULL, NULL, command_dataset_ls},
    {"dataset show", "DATASET", "show one data set", NULL, NULL, command_dataset_show},
    {"dataset rejects", "DATASET", "list files that were rejected, with reasons", NULL, NULL,
     command_dataset_rejects},
    {"dataset pairs", "DATASET [NAME] [FILE]",
     "attach an LFW-style pairs list to a data set, or list those it has",
     "With DATASET alone the lists are listed. A job verifies on it after each epoch when it is submitted "
     "with\n"
     "  --set '/holdout/pairs={\"dataset\":\"DATASET\",\"name\":\"NAME\"}'\n"
     "and, with --set /holdout/every=N too, after each Nth and the last one alone.",
     NULL, command_dataset_pairs},
    {"dataset people", "DATASET", "list the people in a data set", NULL, NULL, command_dataset_people},
    {"dataset forget", "DATASET PERSON [IMAGE]", "erase a person, or one image of a person",
     "What was erased is printed, and stays in the audit trail without the name. Models that were made with "
     "the data set keep what they have learnt: they are listed, and guise rm erases them.",
     NULL, command_dataset_forget},
    {"dataset rm", "DATASET", "erase a data set", NULL, NULL, command_dataset_rm},
    {"submit", "[FILE.json|-]", "submit a training job",
     "The job is FILE.json (- is standard input) with the options laid over it; every field but the data set "
     "has a default. All mistakes in it are told at once.\n"
     "Exit status with --follow: 0 succeeded, 1 failed or refused, 3 canceled, 4 no connection.",
     submit_options, command_submit},
    {"attack", "MODEL|JOB", "attack a model that is there already",
     "The results are added to the model's report; those of earlier audits stay.", attack_options,
     command_attack},
    {"ls", "", "list jobs, newest first", NULL, ls_options, command_ls},
    {"show", "JOB", "show one job", NULL, NULL, command_show},
    {"follow", "JOB", "show a job's progress until it ends",
     "Exit status: 0 succeeded, 1 failed, 3 canceled, 4 no connection. Ctrl-C stops watching, not the job.",
     NULL, command_follow},
    {"events", "JOB", "print a job's events as they happen", NULL, events_options, command_events},
    {"metrics", "JOB", "print a job's metrics", NULL, metrics_options, command_metrics},
    {"log", "JOB", "print a job's log, which is kept for some time after its end", NULL, NULL, command_log},
    {"cancel", "[JOB]", "cancel a job, or all that the options name", NULL, cancel_options, command_cancel},
    {"pause", "JOB", "pause a job at its next checkpoint", NULL, NULL, command_pause},
    {"resume", "JOB", "continue a paused job", NULL, NULL, command_resume},
    {"rm", "MODEL|JOB", "erase a model, or an ended job's records",
     "A job whose model is there is erased after the model.", NULL, command_rm},
    {"models", "", "list models", NULL, NULL, command_models},
    {"model show", "MODEL|JOB", "show one model", NULL, NULL, command_model_show},
    {"get", "MODEL|JOB [NAME ...]", "download a model's files and verify them",
     "NAME is a file of the model, for example model.onnx; without it, all that are for everybody. An "
     "interrupted download continues where it stopped.",
     get_options, command_get},
    {"embed", "MODEL|JOB IMAGE", "print the embedding of a face",
     "IMAGE is an aligned face crop, JPEG or PNG; it is masked the way the model was trained. The embedding "
     "has length 1: the dot product of two is their similarity.",
     embed_options, command_embed},
    {"verify", "MODEL|JOB IMAGE IMAGE", "tell whether two faces are one person's",
     "The threshold is the one at which the model took that share of different people for the same when it "
     "was verified on people it had not seen. A rate takes 10 / rate pairs of different people: guise model "
     "show lists the rates that a model has.",
     verify_options, command_verify},
    {"report", "MODEL|JOB|FILE.json", "print what a model is good for and what attackers got out of it", NULL,
     NULL, command_report},
    {"study run", "FILE.json", "run a grid of training jobs with seeds",
     "Every cell of the study times every seed is one job. What has run already is not run again, so that an "
     "interrupted study goes on with the same command; a cell that was changed runs anew. Results are "
     "appended to DIR/results.jsonl, each job's metrics are saved in DIR/metrics. docs/study.md describes "
     "the file.\n"
     "Exit status: 0 all succeeded, 1 some failed or were refused, 2 the file is wrong, 4 no connection.",
     study_run_options, command_study_run},
    {"study report", "DIR", "write a study's table and plots",
     "Writes DIR/table.md, DIR/table.csv and DIR/plots/*.svg from what study run saved; needs no daemon "
     "then.",
     study_report_options, command_study_report},
    {"synth", "PATH.tar|-", "draw synthetic faces into a tar archive, to try guise without data",
     "The same numbers give the same archive, byte for byte. They are drawings: no result on them says "
     "anything about real faces.",
     synth_options, command_synth},
    {"mask", "PATH", "mask and mix faces here, for a data set of templates",
     "PATH holds IDENTITY/IMAGE as for dataset add, and the same is left out. Nothing of it is sent: the "
     "mask of a model turns the "
     "faces into "
     "templates, which dataset add uploads. docs/client-masking.md tells what this shields, and what not.\n"
     "  guise mask faces/ --model mdl_... -o mine.templates\n"
     "  guise dataset add mine mine.templates",
     mask_options, command_mask},
    {"token add", "NAME", "make a bearer token",
     "The token is printed once and can be shown by nobody again. Put it into a file, and let the client "
     "read "
     "it:\n"
     "  (umask 077; guise token add alice --scope datasets:write,jobs:write >token)\n"
     "  GUISE_TOKEN_FILE=token guise ls",
     token_add_options, command_token_add},
    {"token ls", "", "list tokens", NULL, NULL, command_token_ls},
    {"token revoke", "TOKEN_ID", "make a token worthless", NULL, NULL, command_token_revoke},
    {"audit", "", "show who did what, newest first", NULL, audit_options, command_audit},
    {"backup", "STATE COPY", "copy a state directory of this machine, whether its daemon runs or not",
     "COPY is new or empty. Run it as the user that guised runs as; it is guised --state STATE --backup "
     "COPY. A "
     "backup holds every face, the keys of keyed models and the hashes of all tokens: keep it encrypted.",
     NULL, command_backup},
    {"restore", "COPY STATE", "put a backup back as a new state directory",
     "STATE is new or empty. What was erased since the backup was made is in it: erase it again.", NULL,
     command_restore},
    {"ready", "", "tell whether the daemon is ready for work", NULL, ready_options, command_ready},
};
const size_t cli_command_count = ARRAY_SIZE(cli_commands);

int cli_option(const struct cli *cli, int argc, char **argv) {
  struct option options[OPTIONS_MAX + 1] = {0};
  char letters[2 * OPTIONS_MAX + 1] = "";
  size_t n = 0, used = 0;
  for (const struct cli_option *row = cli->command->options; row && row->name && n < OPTIONS_MAX; row++) {
    options[n++] =
        (struct option){row->name, row->argument ? required_argument : no_argument, NULL, row->letter};
    if (row->use & OPTION_SHORT)
      letters[used++] = row->letter;
    if ((row->use & OPTION_SHORT) && row->argument)
      letters[used++] = ':';
  }
  return getopt_long(argc, argv, letters, options, NULL);
}
