import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;

/** One member of a group. A record counts once its commit went through, so none may count twice. */
final class Member implements ConsumerRebalanceListener {
    /** Which member committed each record of a group, and which records were committed again. */
    static final class Tally {
        private final Map<String, String> owners = new LinkedHashMap<>();
        private final List<String> twice = new ArrayList<>();

        private void add(String member, ConsumerRecord<?, ?> record) {
            String place = record.partition() + "@" + record.offset();
            String before = owners.put(place, member);
            if (before != null) {
                twice.add(place + " (" + before + ", then " + member + ")");
            }
        }

        int size() {
            return owners.size();
        }

        void expectEachOnce(int count) {
            Expect.equal(count, size(), "records seen");
            Expect.that(twice.isEmpty(), twice.size() + " records twice: " + twice.stream().limit(3).toList());
        }

        void expectSeenBy(String member) {
            Expect.that(owners.containsValue(member), "'" + member + "' saw nothing");
        }
    }

    final KafkaConsumer<byte[], byte[]> consumer;
    final List<TopicPartition> revoked = new ArrayList<>();
    final List<TopicPartition> lost = new ArrayList<>();
    private final String name;
    private final Tally tally;

    Member(Clients clients, String name, Tally tally, String group, String topic, Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(Map.of("group.id", group, "max.poll.records", 20));
        all.putAll(settings);
        this.name = name;
        this.tally = tally;
        consumer = clients.consumer(all);
        consumer.subscribe(List.of(topic), this);
    }

    int partitions() {
        return consumer.assignment().size();
    }

    /** Polls once. Where the group rebalances before the commit, the records are read again by whoever owns them then. */
    void step() {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(50));
        if (records.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync();
            records.forEach(record -> tally.add(name, record));
        } catch (CommitFailedException | RebalanceInProgressException rebalance) {
            records.partitions().stream().filter(consumer.assignment()::contains)
                .forEach(partition -> consumer.seek(partition, records.records(partition).get(0).offset()));
        }
    }

    /** Lets the members poll in turn until the condition holds. */
    static void run(String what, Expect.Condition condition, Member... members) throws Exception {
        Expect.until(what, condition, () -> List.of(members).forEach(Member::step));
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        revoked.addAll(partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        lost.addAll(partitions);
    }
}
