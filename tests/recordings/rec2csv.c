/* A team's converter of a proprietary format, as the tests need one: ACME, then records; a CSV for each topic.

   1, u64 nanoseconds, u32 identifier, u8 is_rx, u8 length, bytes      a CAN frame, to can_1.csv
   2, u64 microseconds, double, double                                 a position, to gps.csv                     */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    char path[4096];
    if (argc != 3) return 2;
    FILE *in = fopen(argv[1], "rb");
    snprintf(path, sizeof path, "%s/can_1.csv", argv[2]);
    FILE *can = fopen(path, "w");
    snprintf(path, sizeof path, "%s/gps.csv", argv[2]);
    FILE *gps = fopen(path, "w");
    char magic[4];
    if (!in || !can || !gps || fread(magic, 1, 4, in) != 4 || memcmp(magic, "ACME", 4)) return 3;
    fputs("time,id,dir,data\n", can);
    fputs("t_us,latitude,longitude\n", gps);
    for (int kind; (kind = fgetc(in)) != EOF;) {
        uint64_t at;
        if (fread(&at, 8, 1, in) != 1) return 4;
        if (kind == 1) {
            uint32_t id;
            unsigned char head[2], data[64];
            if (fread(&id, 4, 1, in) != 1 || fread(head, 1, 2, in) != 2 || head[1] > 64) return 4;
            if (fread(data, 1, head[1], in) != head[1]) return 4;
            fprintf(can, "%" PRIu64 ".%09" PRIu64 ",%" PRIx32 ",%s,", at / 1000000000, at % 1000000000, id, head[0] ? "Rx" : "Tx");
            for (int i = 0; i < head[1]; i++) fprintf(can, "%02X", data[i]);
            fputc('\n', can);
        } else if (kind == 2) {
            double where[2];
            if (fread(where, 8, 2, in) != 2) return 4;
            fprintf(gps, "%" PRIu64 ",%.17g,%.17g\n", at, where[0], where[1]);
        } else {
            fprintf(stderr, "record of unknown kind %d\n", kind);
            return 5;
        }
    }
    FILE *note = (snprintf(path, sizeof path, "%s/done.txt", argv[2]), fopen(path, "w"));
    return note && !fclose(note) && !fclose(can) && !fclose(gps) ? 0 : 6;
}
