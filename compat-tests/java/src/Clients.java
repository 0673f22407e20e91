import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Opens the clients of one check and closes them at its end, the last opened first. */
final class Clients implements AutoCloseable {
    static final int RECORDS = "1".equals(System.getenv("OTTLA_SMALL")) ? 1_000 : 10_000;
    static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    private static final Duration CLOSE_TIME_MAX = Duration.ofSeconds(2);
    private static final int API_MS_MAX = 10_000;

    private final Deque<Runnable> closings = new ArrayDeque<>();

    Admin admin() {
        Admin admin = Admin.create(with(Map.of("default.api.timeout.ms", API_MS_MAX, "request.timeout.ms", API_MS_MAX / 2), Map.of()));
        closings.push(() -> admin.close(CLOSE_TIME_MAX));
        return admin;
    }

    KafkaProducer<byte[], byte[]> producer(Map<String, Object> settings) {
        Map<String, Object> defaults = Map.of("max.block.ms", API_MS_MAX, "request.timeout.ms", API_MS_MAX,
            "delivery.timeout.ms", 3 * API_MS_MAX, "linger.ms", 5, "max.request.size", 4_000_000);
        var producer = new KafkaProducer<>(with(defaults, settings), new ByteArraySerializer(), new ByteArraySerializer());
        closings.push(() -> producer.close(CLOSE_TIME_MAX));
        return producer;
    }

    KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> settings) {
        Map<String, Object> defaults = Map.of("default.api.timeout.ms", API_MS_MAX, "request.timeout.ms", API_MS_MAX,
            "group.protocol", "classic", "session.timeout.ms", 10_000, "heartbeat.interval.ms", 300,
            "auto.offset.reset", "earliest", "enable.auto.commit", false);
        var consumer = new KafkaConsumer<>(with(defaults, settings), new ByteArrayDeserializer(), new ByteArrayDeserializer());
        closings.push(() -> consumer.close(CloseOptions.timeout(CLOSE_TIME_MAX)));
        return consumer;
    }

    private static Map<String, Object> with(Map<String, Object> defaults, Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(defaults);
        all.put("bootstrap.servers", BOOTSTRAP);
        all.put("client.id", "ottla-compat");
        all.putAll(settings);
        return all;
    }

    String newTopic(int partitions) throws Exception {
        return newTopic(partitions, Map.of());
    }

    String newTopic(int partitions, Map<String, String> configs) throws Exception {
        String topic = unique("java");
        admin().createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
        return topic;
    }

    /** Writes records 0..count to partition 0 and waits for every acknowledgement. */
    List<RecordMetadata> send(Map<String, Object> settings, String topic, int count, String profile) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = producer(settings)) {
            producer.partitionsFor(topic); // fails here, once, where no broker answers
            for (int i = 0; i < count; i++) {
                sent.add(producer.send(Formula.record(topic, 0, i, profile)));
            }
            List<RecordMetadata> acknowledged = new ArrayList<>();
            for (Future<RecordMetadata> one : sent) {
                acknowledged.add(one.get());
            }
            return acknowledged;
        }
    }

    void readAndCompare(String topic, int count, String profile) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> seen = read(topic, count);
        for (int i = 0; i < count; i++) {
            Expect.equal((long) i, seen.get(i).offset(), "offset");
            Formula.compare(seen.get(i), i, profile);
        }
    }

    List<ConsumerRecord<byte[], byte[]>> read(String topic, int count) throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of());
        consumer.assign(List.of(partition));
        consumer.seekToBeginning(List.of(partition));
        return read(consumer, count);
    }

    static List<ConsumerRecord<byte[], byte[]>> read(KafkaConsumer<byte[], byte[]> consumer, int count) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
        Expect.until(count + " records read", () -> seen.size() >= count,
            () -> consumer.poll(Duration.ofMillis(100)).forEach(seen::add));
        return seen.subList(0, count);
    }

    static List<TopicPartition> partitions(String topic, int count) {
        return IntStream.range(0, count).mapToObj(partition -> new TopicPartition(topic, partition)).toList();
    }

    static String unique(String name) {
        return name + "-" + UUID.randomUUID().toString().substring(0, 8);
    }

    @Override
    public void close() {
        while (!closings.isEmpty()) {
            try {
                closings.pop().run();
            } catch (RuntimeException ignored) {
                // The check has its verdict: a client that cannot close any more adds nothing to it.
            }
        }
    }
}
