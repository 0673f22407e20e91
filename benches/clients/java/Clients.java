import java.time.Duration;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.Callback;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Clients with the Java client's defaults. */
final class Clients {
    /** A broker that says nothing for so long will not say any more. */
    private static final Duration SILENCE_MAX = Duration.ofSeconds(30);
    private static final Map<String, Object> SETTINGS = Map.of("bootstrap.servers", System.getenv("BOOTSTRAP"),
        "client.id", "ottla-bench", "acks", "all", "compression.type", System.getenv("CODEC"));

    private Clients() {}

    static Admin admin() {
        return Admin.create(SETTINGS);
    }

    /** Knows where the topic's partitions are. */
    static KafkaProducer<byte[], byte[]> producer(String topic) {
        var producer = new KafkaProducer<>(SETTINGS, new ByteArraySerializer(), new ByteArraySerializer());
        producer.partitionsFor(topic);
        return producer;
    }

    /** Reads all partitions of a topic from the beginning. */
    static KafkaConsumer<byte[], byte[]> consumer(String topic, int partitions) {
        var consumer = new KafkaConsumer<>(SETTINGS, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        var all = IntStream.range(0, partitions).mapToObj(partition -> new TopicPartition(topic, partition)).toList();
        consumer.assign(all);
        consumer.seekToBeginning(all);
        return consumer;
    }

    static ConsumerRecords<byte[], byte[]> receive(KafkaConsumer<byte[], byte[]> consumer) {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(SILENCE_MAX);
        if (records.isEmpty()) {
            throw new IllegalStateException("no record within " + SILENCE_MAX.toSeconds() + " s");
        }
        return records;
    }

    /** Keeps a failure for when all records are settled. */
    static final class Failures implements Callback {
        private volatile Exception failed;

        @Override
        public void onCompletion(RecordMetadata metadata, Exception exception) {
            if (exception != null) {
                failed = exception;
            }
        }

        void rethrow() {
            if (failed != null) {
                throw new IllegalStateException("a record was not taken", failed);
            }
        }
    }
}
