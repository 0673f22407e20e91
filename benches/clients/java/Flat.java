import java.util.Random;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Flat out: as fast as one client goes. */
final class Flat {
    /** More than any batch holds, so that no batch repeats itself. */
    private static final int LETTERS = 4 << 20;

    private Flat() {}

    /** A value of 16 letters at random, which gzip and zstd bring to about half. */
    static byte[] letters(Random random, int count) {
        byte[] letters = new byte[count];
        random.nextBytes(letters);
        for (int i = 0; i < count; i++) {
            letters[i] = (byte) ('a' + (letters[i] & 15));
        }
        return letters;
    }

    /** Seconds from the first send to the last acknowledgement. */
    static double produce(String topic, int count, int bytes) {
        var random = new Random(1);
        byte[][] values = new byte[LETTERS / bytes][];
        for (int i = 0; i < values.length; i++) {
            values[i] = letters(random, bytes);
        }
        var failures = new Clients.Failures();
        try (var producer = Clients.producer(topic)) {
            long started = System.nanoTime();
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(topic, values[i % values.length]), failures);
            }
            producer.flush();
            failures.rethrow();
            return (System.nanoTime() - started) / 1e9;
        }
    }

    /** Seconds from the first record received to the last. */
    static double consume(String topic, int partitions, int count) {
        try (var consumer = Clients.consumer(topic, partitions)) {
            int received = Clients.receive(consumer).count();
            long started = System.nanoTime();
            while (received < count) {
                received += Clients.receive(consumer).count();
            }
            return (System.nanoTime() - started) / 1e9;
        }
    }
}
