import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;

/** Records, their sizes and their offsets. */
final class RecordChecks {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    private RecordChecks() {}

    static void addTo(Map<String, Suite.Check> checks) {
        for (String codec : CODECS) {
            checks.put("records/" + codec + "-come-back-byte-for-byte", clients -> codec(clients, codec));
        }
        checks.put("records/acks-none-and-leader-arrive-too", RecordChecks::acks);
        checks.put("records/stamped-by-the-broker-with-log-append-time", RecordChecks::logAppendTime);
        checks.put("records/keyed-over-partitions-in-order-of-each-key", RecordChecks::keyed);
        checks.put("idempotent/all-records-in-order-none-missing", RecordChecks::idempotent);
        checks.put("sizes/a-record-at-the-limit-goes-through", RecordChecks::atTheLimit);
        checks.put("sizes/a-record-over-the-limit-is-refused", RecordChecks::overTheLimit);
        checks.put("sizes/a-topic-with-its-own-limit", RecordChecks::topicLimit);
        checks.put("sizes/a-record-longer-than-the-fetch-size-is-read", RecordChecks::longerThanFetchSize);
        checks.put("offsets/earliest-latest-timestamp-max-timestamp", RecordChecks::listOffsets);
        checks.put("offsets/for-times-first-at-or-after-none-past-the-end", RecordChecks::offsetsForTimes);
        checks.put("offsets/beginning-end-and-seek", RecordChecks::seek);
        checks.put("offsets/out-of-range-resets-or-gives-its-error", RecordChecks::outOfRange);
    }

    // Records

    private static void codec(Clients clients, String codec) throws Exception {
        String topic = clients.newTopic(1);
        clients.send(Map.of("compression.type", codec), topic, Clients.RECORDS, "full");
        clients.readAndCompare(topic, Clients.RECORDS, "full");
    }

    private static void acks(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        for (String acks : List.of("0", "1")) {
            try (var producer = clients.producer(Map.of("acks", acks, "enable.idempotence", false))) {
                producer.send(new ProducerRecord<>(topic, 0, null, Formula.text(acks))).get();
            }
        }
        Expect.equal(List.of("0", "1"), clients.read(topic, 2).stream().map(record -> new String(record.value())).toList(), "records");
    }

    private static void logAppendTime(Clients clients) throws Exception {
        String topic = clients.newTopic(1, Map.of("message.timestamp.type", "LogAppendTime"));
        long before = System.currentTimeMillis();
        List<RecordMetadata> acknowledged = clients.send(Map.of("compression.type", "zstd"), topic, 100, "full");
        for (ConsumerRecord<byte[], byte[]> record : clients.read(topic, 100)) {
            Expect.equal("LogAppendTime", record.timestampType().name, "timestamp type");
            Expect.that(record.timestamp() >= before && record.timestamp() <= System.currentTimeMillis(), "stamped at " + record.timestamp());
        }
        Expect.that(acknowledged.get(0).timestamp() >= before, "acknowledged with " + acknowledged.get(0).timestamp());
    }

    private static void keyed(Clients clients) throws Exception {
        String topic = clients.newTopic(4);
        Map<String, List<Integer>> sent = new HashMap<>();
        try (var producer = clients.producer(Map.of())) {
            for (int i = 0; i < 1_000; i++) {
                String key = "key-" + i % 50;
                sent.computeIfAbsent(key, none -> new ArrayList<>()).add(i);
                producer.send(new ProducerRecord<>(topic, Formula.text(key), Formula.text("" + i)));
            }
        }
        KafkaConsumer<byte[], byte[]> consumer = clients.consumer(Map.of());
        consumer.assign(Clients.partitions(topic, 4));
        consumer.seekToBeginning(consumer.assignment());
        Map<String, List<Integer>> seen = Clients.read(consumer, 1_000).stream().collect(Collectors.groupingBy(
            record -> new String(record.key()), Collectors.mapping(record -> Integer.valueOf(new String(record.value())), Collectors.toList())));
        Expect.equal(sent, seen, "values of each key");
    }

    private static void idempotent(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        Map<String, Object> smallBatches = Map.of("enable.idempotence", true, "batch.size", 1_000, "max.in.flight.requests.per.connection", 5);
        List<RecordMetadata> acknowledged = clients.send(smallBatches, topic, Clients.RECORDS, "full");
        for (int i = 0; i < acknowledged.size(); i++) {
            Expect.equal((long) i, acknowledged.get(i).offset(), "acknowledged offset");
        }
        clients.readAndCompare(topic, Clients.RECORDS, "full");
    }

    // Sizes

    private static void atTheLimit(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        sendValue(clients, topic, Formula.LONGEST_VALUE);
        Expect.equal(Formula.LONGEST_VALUE, clients.read(topic, 1).get(0).serializedValueSize(), "length");
    }

    private static void overTheLimit(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        Expect.error(RecordTooLargeException.class, () -> sendValue(clients, topic, Formula.LONGEST_VALUE + 1));
        sendValue(clients, topic, 5);
        Expect.equal(5, clients.read(topic, 1).get(0).serializedValueSize(), "length of the next record");
    }

    private static void topicLimit(Clients clients) throws Exception {
        String topic = clients.newTopic(1, Map.of("max.message.bytes", "10000"));
        Expect.error(RecordTooLargeException.class, () -> sendValue(clients, topic, 10_000));
        // A batch of small records over the limit is split by the client and goes through in parts.
        clients.send(Map.of("batch.size", 100_000, "linger.ms", 200, "max.in.flight.requests.per.connection", 1), topic, 1_000, "full");
        clients.readAndCompare(topic, 1_000, "full");
    }

    private static void longerThanFetchSize(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        sendValue(clients, topic, 500_000);
        sendValue(clients, topic, 5);
        KafkaConsumer<byte[], byte[]> consumer = clients.consumer(Map.of("max.partition.fetch.bytes", 1_000, "fetch.max.bytes", 1_000));
        consumer.assign(Clients.partitions(topic, 1));
        List<Integer> sizes = Clients.read(consumer, 2).stream().map(ConsumerRecord::serializedValueSize).toList();
        Expect.equal(List.of(500_000, 5), sizes, "lengths");
    }

    private static RecordMetadata sendValue(Clients clients, String topic, int length) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = clients.producer(Map.of())) {
            return producer.send(new ProducerRecord<>(topic, 0, null, new byte[length])).get();
        }
    }

    // Offsets

    private static void listOffsets(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        clients.send(Map.of("compression.type", "lz4"), topic, 100, "full");
        Admin admin = clients.admin();
        Expect.equal(0L, offset(admin, topic, OffsetSpec.earliest()), "earliest");
        Expect.equal(100L, offset(admin, topic, OffsetSpec.latest()), "latest");
        Expect.equal(50L, offset(admin, topic, OffsetSpec.forTimestamp(Formula.timestamp(50))), "at a time");
        Expect.equal(51L, offset(admin, topic, OffsetSpec.forTimestamp(Formula.timestamp(50) + 1)), "between two times");
        Expect.equal(-1L, offset(admin, topic, OffsetSpec.forTimestamp(Formula.timestamp(100))), "past the end");
        Expect.equal(99L, offset(admin, topic, OffsetSpec.maxTimestamp()), "max timestamp");
        Expect.equal(-1L, offset(admin, clients.newTopic(1), OffsetSpec.maxTimestamp()), "max timestamp of an empty topic");
    }

    private static long offset(Admin admin, String topic, OffsetSpec spec) throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        return admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get().offset();
    }

    private static void offsetsForTimes(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        clients.send(Map.of(), topic, 100, "full");
        TopicPartition partition = new TopicPartition(topic, 0);
        KafkaConsumer<byte[], byte[]> consumer = clients.consumer(Map.of());
        OffsetAndTimestamp between = consumer.offsetsForTimes(Map.of(partition, Formula.timestamp(30) - 3)).get(partition);
        Expect.equal(30L, between.offset(), "offset");
        Expect.equal(Formula.timestamp(30), between.timestamp(), "timestamp");
        Expect.equal(null, consumer.offsetsForTimes(Map.of(partition, Formula.timestamp(100))).get(partition), "past the end");
    }

    private static void seek(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        clients.send(Map.of("compression.type", "gzip"), topic, 1_000, "full");
        TopicPartition partition = new TopicPartition(topic, 0);
        KafkaConsumer<byte[], byte[]> consumer = clients.consumer(Map.of());
        Expect.equal(Map.of(partition, 0L), consumer.beginningOffsets(List.of(partition)), "beginning");
        Expect.equal(Map.of(partition, 1_000L), consumer.endOffsets(List.of(partition)), "end");
        consumer.assign(List.of(partition));
        for (long from : List.of(700L, 10L, 999L)) {
            consumer.seek(partition, from);
            Expect.equal(from, Clients.read(consumer, 1).get(0).offset(), "offset after the seek");
        }
        consumer.seekToEnd(List.of(partition));
        Expect.equal(1_000L, consumer.position(partition), "position at the end");
        Expect.that(consumer.poll(Duration.ofMillis(200)).isEmpty(), "records after the end");
    }

    private static void outOfRange(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        clients.send(Map.of(), topic, 10, "full");
        TopicPartition partition = new TopicPartition(topic, 0);
        KafkaConsumer<byte[], byte[]> resets = clients.consumer(Map.of());
        resets.assign(List.of(partition));
        resets.seek(partition, 1_000);
        Expect.equal(0L, Clients.read(resets, 1).get(0).offset(), "offset after the reset");
        KafkaConsumer<byte[], byte[]> fails = clients.consumer(Map.of("auto.offset.reset", "none"));
        fails.assign(List.of(partition));
        fails.seek(partition, 1_000);
        Expect.error(OffsetOutOfRangeException.class, () -> Clients.read(fails, 1));
    }
}
