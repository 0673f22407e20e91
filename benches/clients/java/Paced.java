import java.nio.ByteBuffer;
import java.util.Locale;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Paced, end to end: each record carries when it was due, and its latency counts from then; see src/paced.rs. */
record Paced(String topic, int partitions, long rate, long seconds, int bytes) {
    String run() {
        try (var consumer = Clients.consumer(topic, partitions); var producer = Clients.producer(topic)) {
            connect(producer, consumer);
            long start = System.nanoTime();
            var receiving = CompletableFuture.supplyAsync(() -> latencies(consumer, start));
            send(producer, start);
            Latencies latencies = receiving.join();
            double elapsed = (System.nanoTime() - start) / 1e9;
            return String.format(Locale.ROOT,
                "{\"seconds\": %f, \"p50_ms\": %f, \"p99_ms\": %f, \"p99.9_ms\": %f, \"max_ms\": %f}", elapsed,
                latencies.ms(0.5), latencies.ms(0.99), latencies.ms(0.999), latencies.ms(1));
        }
    }

    /** A record there and back through each partition, so that the clock finds all connections open. */
    private void connect(KafkaProducer<byte[], byte[]> producer, KafkaConsumer<byte[], byte[]> consumer) {
        for (int partition = 0; partition < partitions; partition++) {
            producer.send(new ProducerRecord<>(topic, partition, null, new byte[Long.BYTES]));
        }
        for (int received = 0; received < partitions; received += Clients.receive(consumer).count()) {}
    }

    private void send(KafkaProducer<byte[], byte[]> producer, long start) {
        var failures = new Clients.Failures();
        byte[] value = Flat.letters(new Random(1), bytes);
        for (long number = 0; number < rate * seconds; number++) {
            long due = number * 1_000_000_000L / rate;
            for (long early = due - (System.nanoTime() - start); early > 0; early = due - (System.nanoTime() - start)) {
                LockSupport.parkNanos(early);
            }
            ByteBuffer.wrap(value).putLong(due);
            producer.send(new ProducerRecord<>(topic, value), failures); // which copies it
        }
        producer.flush();
        failures.rethrow();
    }

    private Latencies latencies(KafkaConsumer<byte[], byte[]> consumer, long start) {
        var latencies = new Latencies();
        for (long received = 0; received < rate * seconds; ) {
            var records = Clients.receive(consumer);
            long now = System.nanoTime() - start;
            records.forEach(record -> latencies.record(now - ByteBuffer.wrap(record.value()).getLong()));
            received += records.count();
        }
        return latencies;
    }
}
