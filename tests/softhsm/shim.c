/* A PKCS#11 module that passes everything on to another one (SHIM_MODULE), except what SHIM_WITHOUT names: a function that it has not
   (InitToken, InitPIN, CopyObject), "flags": it takes a usage flag that is turned off in a copy, and goes on as if it were on, or "silent": a token of
   that label does not answer. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long ulong;
struct attribute { ulong type; void *value; ulong length; };
/* CK_FUNCTION_LIST of 2.40: its version, then its functions in the order of the standard. */
struct list { unsigned char version[2]; void *functions[68]; };
enum { GET_FUNCTION_LIST = 3, GET_TOKEN_INFO = 6, INIT_TOKEN = 9, INIT_PIN = 10, COPY_OBJECT = 21 };

static struct list ours;
static ulong (*copy)(ulong, ulong, struct attribute *, ulong, ulong *);

static ulong (*token_info)(ulong, char *);

static ulong not_supported(void) { return 0x54; }

static int is_usage(ulong type) { return (type >= 0x104 && type <= 0x10C); }

static ulong copy_with_flags_on(ulong session, ulong object, struct attribute *given, ulong count, ulong *made) {
  struct attribute kept[32];
  ulong n = 0;
  for (ulong i = 0; i < count && n < 32; i++)
    if (!is_usage(given[i].type) || *(unsigned char *)given[i].value) kept[n++] = given[i];
  return copy(session, object, kept, n, made);
}

/* CK_TOKEN_INFO begins with the label. */
static ulong token_info_or_silence(ulong slot, char *info) {
  ulong answer = token_info(slot, info);
  return answer == 0 && strncmp(info, "silent ", 7) == 0 ? 0x30 : answer;
}

ulong C_GetFunctionList(struct list **list) {
  ulong (*theirs)(struct list **);
  struct list *found;
  const char *without = getenv("SHIM_WITHOUT");
  void *module = dlopen(getenv("SHIM_MODULE"), RTLD_NOW);
  if (!module || !without) return 5;
  *(void **)&theirs = dlsym(module, "C_GetFunctionList");
  if (!theirs || theirs(&found)) return 5;
  ours = *found;
  ours.functions[GET_FUNCTION_LIST] = (void *)C_GetFunctionList;
  *(void **)&copy = ours.functions[COPY_OBJECT];
  *(void **)&token_info = ours.functions[GET_TOKEN_INFO];
  if (strstr(without, "silent")) ours.functions[GET_TOKEN_INFO] = (void *)token_info_or_silence;
  if (strstr(without, "InitToken")) ours.functions[INIT_TOKEN] = (void *)not_supported;
  if (strstr(without, "InitPIN")) ours.functions[INIT_PIN] = (void *)not_supported;
  if (strstr(without, "CopyObject")) ours.functions[COPY_OBJECT] = (void *)not_supported;
  if (strstr(without, "flags")) ours.functions[COPY_OBJECT] = (void *)copy_with_flags_on;
  *list = &ours;
  return 0;
}
