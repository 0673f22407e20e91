/** A histogram as HdrHistogram has it: buckets that are 1/1024 of their values wide, from a microsecond up. */
final class Latencies {
    private static final int PRECISION_BITS = 10;
    private static final int BUCKETS = (Long.SIZE - PRECISION_BITS) << PRECISION_BITS;

    private final long[] counts = new long[BUCKETS];
    private long total;
    private long maxUs;

    void record(long ns) {
        long us = Math.max(0, ns / 1_000);
        counts[bucket(us)]++;
        total++;
        maxUs = Math.max(maxUs, us);
    }

    double ms(double quantile) {
        long rank = (long) Math.ceil(quantile * total);
        int bucket = 0;
        for (long seen = counts[0]; seen < rank; seen += counts[bucket]) {
            bucket++;
        }
        return Math.min(highestUs(bucket), maxUs) / 1e3;
    }

    private static int bucket(long us) {
        int shift = Math.max(0, Long.SIZE - PRECISION_BITS - 1 - Long.numberOfLeadingZeros(us));
        return (shift << PRECISION_BITS) + (int) (us >> shift);
    }

    private static long highestUs(int bucket) {
        int shift = Math.max(0, (bucket >> PRECISION_BITS) - 1);
        return (((long) bucket - (shift << PRECISION_BITS) + 1) << shift) - 1;
    }
}
