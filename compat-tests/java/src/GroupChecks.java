import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ClassicGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.ClassicGroupState;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;

/** Consumer groups, their members and their offsets. */
final class GroupChecks {
    private static final int GROUP_RECORDS = 2_000;

    private GroupChecks() {}

    static void addTo(Map<String, Suite.Check> checks) {
        for (Class<?> assignor : List.of(RangeAssignor.class, RoundRobinAssignor.class, StickyAssignor.class, CooperativeStickyAssignor.class)) {
            checks.put("groups/" + hyphenated(assignor) + "-one-member-leaves-nothing-lost-nothing-twice",
                clients -> oneMemberLeaves(clients, assignor));
        }
        checks.put("groups/cooperative-sticky-revokes-only-what-moves", GroupChecks::cooperativeJoin);
        checks.put("groups/eager-revokes-everything", GroupChecks::eagerJoin);
        checks.put("groups/two-topics-by-pattern-a-new-one-joins-in", GroupChecks::pattern);
        checks.put("groups/a-static-member-comes-back-without-a-rebalance", GroupChecks::staticMember);
        checks.put("groups/a-second-static-member-fences-the-first", GroupChecks::fencedMember);
        checks.put("groups/a-static-member-is-removed-by-the-admin", GroupChecks::removeStaticMember);
        checks.put("groups/a-silent-member-is-dropped", GroupChecks::silentMember);
        checks.put("groups/auto-commit-is-found-by-the-next-member", GroupChecks::autoCommit);
        checks.put("groups/are-listed-described-and-deleted", GroupChecks::groups);
        checks.put("groups/offsets-are-altered-listed-and-deleted", GroupChecks::groupOffsets);
        checks.put("groups/commits-keep-metadata-and-epoch", GroupChecks::commitMetadata);
        checks.put("groups/without-offset-and-reset-policy-gives-its-error", GroupChecks::noOffset);
    }

    private static String hyphenated(Class<?> assignor) {
        return assignor.getSimpleName().replace("Assignor", "").replaceAll("(?<=.)([A-Z])", "-$1").toLowerCase();
    }

    private static Map<String, Object> assignedBy(Class<?> assignor) {
        return Map.of("partition.assignment.strategy", assignor.getName());
    }

    private static void oneMemberLeaves(Clients clients, Class<?> assignor) throws Exception {
        String topic = clients.newTopic(4);
        String group = Clients.unique("group");
        Member.Tally tally = new Member.Tally();
        Member stays = new Member(clients, "stays", tally, group, topic, assignedBy(assignor));
        Member leaves = new Member(clients, "leaves", tally, group, topic, assignedBy(assignor));
        Member.run("two partitions each", () -> stays.partitions() == 2 && leaves.partitions() == 2, stays, leaves);

        sendTo(clients, topic, 4, GROUP_RECORDS);
        Member.run("half of the records seen", () -> tally.size() >= GROUP_RECORDS / 2, stays, leaves);
        leaves.consumer.close();
        Member.run("all records seen", () -> tally.size() >= GROUP_RECORDS && stays.partitions() == 4, stays);
        tally.expectEachOnce(GROUP_RECORDS);
        tally.expectSeenBy("stays");
        tally.expectSeenBy("leaves");
        stays.consumer.close();

        Member comesLater = new Member(clients, "comes later", tally, group, topic, assignedBy(assignor));
        Member.run("all partitions at the new member", () -> comesLater.partitions() == 4, comesLater);
        sendTo(clients, topic, 1, 1);
        Member.run("the one record after the committed offsets", () -> tally.size() > GROUP_RECORDS, comesLater);
        tally.expectEachOnce(GROUP_RECORDS + 1);
    }

    private static void sendTo(Clients clients, String topic, int partitions, int count) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = clients.producer(Map.of("batch.size", 500))) {
            List<Future<RecordMetadata>> sent = IntStream.range(0, count)
                .mapToObj(i -> producer.send(new ProducerRecord<>(topic, i % partitions, null, Formula.text("" + i)))).toList();
            for (Future<RecordMetadata> one : sent) {
                one.get();
            }
        }
    }

    private static void cooperativeJoin(Clients clients) throws Exception {
        Expect.equal(2, revokedWhenOneJoins(clients, CooperativeStickyAssignor.class), "partitions revoked");
    }

    private static void eagerJoin(Clients clients) throws Exception {
        Expect.equal(4, revokedWhenOneJoins(clients, RangeAssignor.class), "partitions revoked");
    }

    private static int revokedWhenOneJoins(Clients clients, Class<?> assignor) throws Exception {
        String topic = clients.newTopic(4);
        String group = Clients.unique("group");
        Member first = new Member(clients, "first", new Member.Tally(), group, topic, assignedBy(assignor));
        Member.run("all partitions at the first", () -> first.partitions() == 4, first);
        Member second = new Member(clients, "second", new Member.Tally(), group, topic, assignedBy(assignor));
        Member.run("two partitions each", () -> first.partitions() == 2 && second.partitions() == 2, first, second);
        Expect.equal(List.of(), first.lost, "partitions lost");
        return first.revoked.size();
    }

    private static void pattern(Clients clients) throws Exception {
        String prefix = Clients.unique("pattern");
        Admin admin = clients.admin();
        admin.createTopics(List.of(new NewTopic(prefix + ".a", 1, (short) 1), new NewTopic(prefix + ".b", 1, (short) 1))).all().get();
        KafkaConsumer<byte[], byte[]> consumer = clients.consumer(Map.of("group.id", Clients.unique("group"), "metadata.max.age.ms", 300));
        consumer.subscribe(Pattern.compile(Pattern.quote(prefix) + ".*"));
        Expect.until("two topics assigned", () -> consumer.assignment().size() == 2, () -> consumer.poll(Duration.ofMillis(100)));
        admin.createTopics(List.of(new NewTopic(prefix + ".c", 1, (short) 1))).all().get();
        Expect.until("the third topic assigned", () -> consumer.assignment().size() == 3, () -> consumer.poll(Duration.ofMillis(100)));
    }

    private static Map<String, Object> instance(String id) {
        return Map.of("group.instance.id", id);
    }

    private static void staticMember(Clients clients) throws Exception {
        String topic = clients.newTopic(4);
        String group = Clients.unique("group");
        Member.Tally tally = new Member.Tally();
        Member stays = new Member(clients, "stays", tally, group, topic, instance("stays"));
        Member restarts = new Member(clients, "restarts", tally, group, topic, instance("restarts"));
        Member.run("two partitions each", () -> stays.partitions() == 2 && restarts.partitions() == 2, stays, restarts);
        Set<TopicPartition> before = Set.copyOf(restarts.consumer.assignment());
        int revokedBefore = stays.revoked.size();
        restarts.consumer.close();
        Member again = new Member(clients, "restarts", tally, group, topic, instance("restarts"));
        Member.run("partitions assigned again", () -> again.partitions() == 2, stays, again);
        Expect.equal(before, again.consumer.assignment(), "partitions of the member that came back");
        Expect.equal(revokedBefore, stays.revoked.size(), "partitions revoked from the other");
    }

    private static void fencedMember(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        String group = Clients.unique("group");
        Member first = new Member(clients, "first", new Member.Tally(), group, topic, instance("same"));
        Member.run("partition assigned", () -> first.partitions() == 1, first);
        Member second = new Member(clients, "second", new Member.Tally(), group, topic, instance("same"));
        Member.run("partition assigned to the second", () -> second.partitions() == 1, second);
        Expect.error(FencedInstanceIdException.class, () -> {
            Member.run("the first fenced", () -> false, first, second);
            return null;
        });
    }

    private static void removeStaticMember(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        String group = Clients.unique("group");
        Admin admin = clients.admin();
        Member member = new Member(clients, "only", new Member.Tally(), group, topic, instance("removed"));
        Member.run("partition assigned", () -> member.partitions() == 1, member);
        member.consumer.close();
        MemberDescription described = describeGroup(admin, group).members().iterator().next();
        Expect.equal(Optional.of("removed"), described.groupInstanceId(), "instance id of the closed member");
        admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("removed")))).all().get();
        Expect.equal(ClassicGroupState.EMPTY, describeGroup(admin, group).state(), "state");
    }

    private static void silentMember(Clients clients) throws Exception {
        String topic = clients.newTopic(2);
        String group = Clients.unique("group");
        Map<String, Object> shortSession = Map.of("session.timeout.ms", 6_000, "max.poll.interval.ms", 7_000);
        Member polls = new Member(clients, "polls", new Member.Tally(), group, topic, shortSession);
        Member falls = new Member(clients, "falls silent", new Member.Tally(), group, topic, shortSession);
        Member.run("one partition each", () -> polls.partitions() == 1 && falls.partitions() == 1, polls, falls);
        Member.run("all partitions at the one that polls", () -> polls.partitions() == 2, polls);
        Member.run("the other comes back", () -> polls.partitions() == 1 && falls.partitions() == 1, polls, falls);
    }

    private static void autoCommit(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        String group = Clients.unique("group");
        clients.send(Map.of(), topic, 100, "full");
        Map<String, Object> settings = Map.of("group.id", group, "enable.auto.commit", true, "auto.commit.interval.ms", 200, "max.poll.records", 40);
        try (KafkaConsumer<byte[], byte[]> first = clients.consumer(settings)) {
            first.subscribe(List.of(topic));
            Expect.equal(0L, Clients.read(first, 40).get(0).offset(), "first offset");
        }
        KafkaConsumer<byte[], byte[]> second = clients.consumer(settings);
        second.subscribe(List.of(topic));
        Expect.equal(40L, Clients.read(second, 1).get(0).offset(), "first offset of the next member");
    }

    private static ClassicGroupDescription describeGroup(Admin admin, String group) throws Exception {
        return admin.describeClassicGroups(List.of(group)).all().get().get(group);
    }

    private static Optional<GroupListing> listed(Admin admin, ListGroupsOptions options, String group) throws Exception {
        return admin.listGroups(options).all().get().stream().filter(listing -> listing.groupId().equals(group)).findFirst();
    }

    private static void groups(Clients clients) throws Exception {
        Admin admin = clients.admin();
        String topic = clients.newTopic(2);
        String group = Clients.unique("group");
        Member member = new Member(clients, "only", new Member.Tally(), group, topic, Map.of());
        Member.run("partitions assigned", () -> member.partitions() == 2, member);

        GroupListing listing = listed(admin, ListGroupsOptions.forConsumerGroups().inGroupStates(Set.of(GroupState.STABLE)), group)
            .orElseThrow(() -> new AssertionError("not listed"));
        Expect.equal(List.of(Optional.of(GroupType.CLASSIC), Optional.of(GroupState.STABLE), "consumer"),
            List.of(listing.type(), listing.groupState(), listing.protocol()), "listing");
        Expect.that(listed(admin, new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY)), group).isEmpty(), "listed as empty");

        ClassicGroupDescription stable = describeGroup(admin, group);
        MemberDescription described = stable.members().iterator().next();
        Expect.equal(ClassicGroupState.STABLE, stable.state(), "state");
        Expect.equal(List.of("consumer", "range"), List.of(stable.protocol(), stable.protocolData()), "protocol");
        Expect.equal("ottla-compat", described.clientId(), "client id");
        Expect.equal(Set.copyOf(Clients.partitions(topic, 2)), described.assignment().topicPartitions(), "assignment");
        Expect.error(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());

        member.consumer.close();
        Expect.equal(ClassicGroupState.EMPTY, describeGroup(admin, group).state(), "state after the member left");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        Expect.that(listed(admin, new ListGroupsOptions(), group).isEmpty(), "still listed");
        Expect.error(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
        Expect.error(GroupIdNotFoundException.class, () -> describeGroup(admin, group));
    }

    private static void groupOffsets(Clients clients) throws Exception {
        Admin admin = clients.admin();
        String topic = clients.newTopic(2);
        String group = Clients.unique("group");
        TopicPartition first = new TopicPartition(topic, 0);
        TopicPartition second = new TopicPartition(topic, 1);
        Map<TopicPartition, OffsetAndMetadata> offsets = Map.of(first, new OffsetAndMetadata(20, "moved"), second, new OffsetAndMetadata(30));
        admin.alterConsumerGroupOffsets(group, offsets).all().get();
        Expect.equal(offsets, admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get(), "all offsets");
        var one = new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(first));
        Expect.equal(20L, admin.listConsumerGroupOffsets(Map.of(group, one)).partitionsToOffsetAndMetadata(group).get().get(first).offset(), "offset");
        admin.deleteConsumerGroupOffsets(group, Set.of(second)).all().get();
        Expect.equal(Set.of(first), admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().keySet(), "what is left");
    }

    private static void commitMetadata(Clients clients) throws Exception {
        TopicPartition partition = new TopicPartition(clients.newTopic(1), 0);
        String group = Clients.unique("group");
        OffsetAndMetadata committed = new OffsetAndMetadata(7, Optional.of(0), "a note");
        KafkaConsumer<byte[], byte[]> writes = clients.consumer(Map.of("group.id", group));
        writes.assign(List.of(partition));
        writes.commitSync(Map.of(partition, committed));
        KafkaConsumer<byte[], byte[]> reads = clients.consumer(Map.of("group.id", group));
        Expect.equal(Map.of(partition, committed), reads.committed(Set.of(partition)), "committed");
    }

    private static void noOffset(Clients clients) throws Exception {
        String topic = clients.newTopic(1);
        KafkaConsumer<byte[], byte[]> consumer = clients.consumer(Map.of("group.id", Clients.unique("group"), "auto.offset.reset", "none"));
        consumer.subscribe(List.of(topic));
        Expect.error(NoOffsetForPartitionException.class, () -> Clients.read(consumer, 1));
    }
}
