/* A stand-in for NVIDIA's libnvidia-ml.so.1, as far as the harness asks it. What it has and what goes wrong with it
 * stands in the environment:
 *   STUB_DEVICES   number of GPUs
 *   STUB_MIG       index of the GPU in MIG mode, which has two instances
 *   STUB_PIDS      process ids on every device; 0 stands for the process that asks
 *   STUB_STILL     the energy counters do not move
 *   STUB_RULES     what fails: FUNCTION DEVICE CALL CODE; ... (device -1: all; from that call on, the first is 1;
 *                  a code as in nvml.h, or -1: the call never comes back)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, DRIVER_NOT_LOADED = 9, LOST = 15 };
#define GPUS 8
typedef struct { int gpu, part; } Device;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Utilisation;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gi, ci; } Process;

static Device devices[GPUS * 3];
static int calls[64][GPUS];
static const char *names[64];

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text && *text ? atoi(text) : otherwise;
}

static int trouble(const char *function, int gpu) {
    int slot = 0, device, from, code;
    char named[96];
    while (names[slot] && strcmp(names[slot], function)) slot++;
    names[slot] = function;
    int call = ++calls[slot][gpu < 0 ? 0 : gpu];
    for (const char *rule = getenv("STUB_RULES"); rule && *rule; rule = strchr(rule, ';'), rule = rule ? rule + 1 : rule) {
        if (sscanf(rule, " %95s %d %d %d", named, &device, &from, &code) != 4) continue;
        if (strcmp(named, function) || (device >= 0 && device != gpu) || call < from) continue;
        if (code < 0) for (;;) pause();
        return code;
    }
    return OK;
}
#define ASKED(gpu) do { int code = trouble(__func__, gpu); if (code) return code; } while (0)

int nvmlInitWithFlags(unsigned int flags) { (void)flags; ASKED(-1); return OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { static char text[32]; snprintf(text, sizeof text, "stub error %d", code); return text; }
int nvmlSystemGetDriverVersion(char *text, unsigned int size) { ASKED(-1); snprintf(text, size, "570.1"); return OK; }
int nvmlDeviceGetCount_v2(unsigned int *count) { ASKED(-1); *count = number("STUB_DEVICES", 0); return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, Device **device) {
    ASKED((int)index);
    devices[index * 3] = (Device){(int)index, -1};
    *device = &devices[index * 3];
    return OK;
}
int nvmlDeviceGetUUID(Device *device, char *text, unsigned int size) {
    ASKED(device->gpu);
    if (device->part < 0) snprintf(text, size, "GPU-%d0000000-aaaa", device->gpu);
    else snprintf(text, size, "MIG-%d%d000000-bbbb", device->gpu, device->part);
    return OK;
}
int nvmlDeviceGetName(Device *device, char *text, unsigned int size) {
    ASKED(device->gpu);
    snprintf(text, size, device->part < 0 ? "Stub H200" : "Stub H200 MIG 1g.18gb");
    return OK;
}
int nvmlDeviceGetMigMode(Device *device, unsigned int *now, unsigned int *later) {
    ASKED(device->gpu);
    if (!getenv("STUB_MIG")) return NOT_SUPPORTED;
    *now = *later = number("STUB_MIG", -1) == device->gpu;
    return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(Device *device, unsigned int *count) { ASKED(device->gpu); *count = 7; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned int index, Device **part) {
    ASKED(device->gpu);
    if (index != 0 && index != 3) return NOT_FOUND;
    int nth = index == 3;
    *part = device + 1 + nth;
    **part = (Device){device->gpu, nth};
    return OK;
}
int nvmlDeviceGetGpuInstanceId(Device *part, unsigned int *id) { *id = 7 + part->part; return OK; }
int nvmlDeviceGetComputeInstanceId(Device *part, unsigned int *id) { (void)part; *id = 0; return OK; }
int nvmlDeviceGetMemoryInfo(Device *device, Memory *memory) {
    ASKED(device->gpu);
    unsigned long long total = device->part < 0 ? 8ull << 30 : 1ull << 30;
    *memory = (Memory){total, total - (256ull << 20), 256ull << 20};
    return OK;
}
int nvmlDeviceGetUtilizationRates(Device *device, Utilisation *share) { ASKED(device->gpu); *share = (Utilisation){75, 20}; return OK; }
int nvmlDeviceGetPowerUsage(Device *device, unsigned int *milliwatts) { ASKED(device->gpu); *milliwatts = 300500 + device->gpu; return OK; }
int nvmlDeviceGetEnforcedPowerLimit(Device *device, unsigned int *milliwatts) { ASKED(device->gpu); *milliwatts = 700000; return OK; }
int nvmlDeviceGetTotalEnergyConsumption(Device *device, unsigned long long *millijoules) {
    static unsigned long long counted[GPUS];
    ASKED(device->gpu);
    if (!getenv("STUB_STILL")) counted[device->gpu] += 2500;
    *millijoules = 1000000ull * (device->gpu + 1) + counted[device->gpu];
    return OK;
}
int nvmlDeviceGetClockInfo(Device *device, int clock, unsigned int *mhz) { ASKED(device->gpu); *mhz = clock == 1 ? 1980 : clock == 2 ? 3201 : 0; return OK; }
int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *bits) { ASKED(device->gpu); *bits = 0x1 | 0x4 | 0x40; return OK; }
int nvmlDeviceGetTemperature(Device *device, int sensor, unsigned int *celsius) { ASKED(device->gpu); *celsius = sensor == 0 ? 61 : 0; return OK; }
int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned int *count, Process *found) {
    ASKED(device->gpu);
    unsigned int pids[16], there = 0;
    char text[256];
    snprintf(text, sizeof text, "%s", getenv("STUB_PIDS") ? getenv("STUB_PIDS") : "");
    for (char *word = strtok(text, " "); word && there < 16; word = strtok(NULL, " ")) pids[there++] = atoi(word);
    int fits = *count >= there;
    *count = there;
    if (!there) return OK;
    if (!fits || !found) return TOO_SMALL;
    for (unsigned int each = 0; each < there; each++)
        found[each] = (Process){pids[each] ? pids[each] : (unsigned int)getpid(), 1 << 20, 0, 0};
    return OK;
}
