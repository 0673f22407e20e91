import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConfigEntry.ConfigSource;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Topics, their configs, and those of the broker. */
final class TopicChecks {
    private TopicChecks() {}

    static void addTo(Map<String, Suite.Check> checks) {
        checks.put("topics/a-created-topic-is-listed-and-described", TopicChecks::createdTopicIsDescribed);
        checks.put("topics/replica-assignment-and-broker-defaults", TopicChecks::replicaAssignmentAndDefaults);
        checks.put("topics/validate-only-creates-nothing", TopicChecks::validateOnly);
        checks.put("topics/bad-requests-get-their-errors", TopicChecks::badTopics);
        checks.put("topics/deleted-by-name-and-by-id", TopicChecks::deleteTopics);
        checks.put("topics/partitions-can-be-added", TopicChecks::createPartitions);
        checks.put("topics/an-unknown-topic-gives-its-error", TopicChecks::unknownTopic);
        checks.put("topics/producing-to-a-missing-topic-creates-it", TopicChecks::autoCreate);
        checks.put("topics/subscribing-to-a-missing-topic-creates-it", TopicChecks::autoCreateBySubscription);
        checks.put("configs/of-a-topic-are-described-with-types-and-sources", TopicChecks::describeConfigs);
        checks.put("configs/of-a-topic-are-altered-incrementally", TopicChecks::alterConfigs);
        checks.put("configs/of-a-broker-are-described", TopicChecks::describeBrokerConfigs);
        checks.put("cluster/is-described", TopicChecks::describeCluster);
    }

    // Topics

    private static void createdTopicIsDescribed(Clients clients) throws Exception {
        Admin admin = clients.admin();
        String topic = Clients.unique("java");
        CreateTopicsResult result = admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1).configs(Map.of("retention.ms", "3600000"))));
        result.all().get();
        Expect.equal(3, result.numPartitions(topic).get(), "partitions in the answer");
        Expect.equal(1, result.replicationFactor(topic).get(), "replication factor in the answer");
        Expect.equal("3600000", result.config(topic).get().get("retention.ms").value(), "retention.ms in the answer");
        Uuid id = result.topicId(topic).get();
        Expect.that(admin.listTopics().namesToListings().get().get(topic).topicId().equals(id), "listed under another id");

        TopicDescription byName = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        TopicDescription byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get().get(id);
        for (TopicDescription description : List.of(byName, byId)) {
            Expect.equal(topic, description.name(), "name");
            Expect.equal(id, description.topicId(), "id");
            Expect.equal(List.of(0, 1, 2), description.partitions().stream().map(TopicPartitionInfo::partition).toList(), "partitions");
            Expect.that(description.partitions().stream().allMatch(one -> one.isr().contains(one.leader())), "a leader is not in sync");
        }
    }

    private static void replicaAssignmentAndDefaults(Clients clients) throws Exception {
        Admin admin = clients.admin();
        int broker = admin.describeCluster().nodes().get().iterator().next().id();
        String assigned = Clients.unique("java");
        String byDefault = Clients.unique("java");
        admin.createTopics(List.of(
            new NewTopic(assigned, Map.of(0, List.of(broker), 1, List.of(broker))),
            new NewTopic(byDefault, Optional.empty(), Optional.empty()))).all().get();
        Map<String, TopicDescription> described = admin.describeTopics(List.of(assigned, byDefault)).allTopicNames().get();
        for (TopicPartitionInfo partition : described.get(assigned).partitions()) {
            Expect.equal(List.of(broker), partition.replicas().stream().map(Node::id).toList(), "replicas");
        }
        Expect.equal(2, described.get(assigned).partitions().size(), "partitions as assigned");
        Expect.equal(1, described.get(byDefault).partitions().size(), "partitions by default");
    }

    private static void validateOnly(Clients clients) throws Exception {
        Admin admin = clients.admin();
        String topic = Clients.unique("java");
        CreateTopicsOptions validate = new CreateTopicsOptions().validateOnly(true);
        admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1)), validate).all().get();
        Expect.that(!admin.listTopics().names().get().contains(topic), "it was created");
        Expect.error(InvalidReplicationFactorException.class,
            () -> admin.createTopics(List.of(new NewTopic(topic, 1, (short) 9)), validate).all().get());
    }

    private static void badTopics(Clients clients) throws Exception {
        Admin admin = clients.admin();
        String topic = clients.newTopic(1);
        String fresh = Clients.unique("java");
        Expect.error(TopicExistsException.class, () -> create(admin, new NewTopic(topic, 1, (short) 1)));
        Expect.error(InvalidTopicException.class, () -> create(admin, new NewTopic("no spaces, please", 1, (short) 1)));
        Expect.error(InvalidPartitionsException.class, () -> create(admin, new NewTopic(fresh, 0, (short) 1)));
        Expect.error(InvalidReplicationFactorException.class, () -> create(admin, new NewTopic(fresh, 1, (short) 9)));
        Expect.error(InvalidConfigurationException.class,
            () -> create(admin, new NewTopic(fresh, 1, (short) 1).configs(Map.of("no.such.config", "1"))));
        Expect.error(InvalidConfigurationException.class,
            () -> create(admin, new NewTopic(fresh, 1, (short) 1).configs(Map.of("retention.ms", "a while"))));
    }

    private static Void create(Admin admin, NewTopic topic) throws Exception {
        return admin.createTopics(List.of(topic)).all().get();
    }

    private static void deleteTopics(Clients clients) throws Exception {
        Admin admin = clients.admin();
        String byName = clients.newTopic(1);
        String byId = clients.newTopic(1);
        Uuid id = admin.describeTopics(List.of(byId)).allTopicNames().get().get(byId).topicId();
        admin.deleteTopics(List.of(byName)).all().get();
        admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
        Set<String> left = admin.listTopics().names().get();
        Expect.that(!left.contains(byName) && !left.contains(byId), "still listed");
        Expect.error(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(byName)).all().get());
        Expect.error(UnknownTopicIdException.class, () -> admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get());

        admin.createTopics(List.of(new NewTopic(byName, 1, (short) 1))).all().get();
        clients.send(Map.of(), byName, 1, "full");
        Expect.equal(0L, clients.read(byName, 1).get(0).offset(), "first offset of the topic created again");
    }

    private static void createPartitions(Clients clients) throws Exception {
        Admin admin = clients.admin();
        String topic = clients.newTopic(1);
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
        Expect.equal(4, admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), "partitions");
        Expect.error(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all().get());
        try (var producer = clients.producer(Map.of())) {
            Expect.equal(3, producer.send(new ProducerRecord<>(topic, 3, null, Formula.text("new"))).get().partition(), "partition");
        }
    }

    private static void unknownTopic(Clients clients) {
        Admin admin = clients.admin();
        String missing = Clients.unique("missing");
        Expect.error(UnknownTopicOrPartitionException.class, () -> admin.describeTopics(List.of(missing)).allTopicNames().get());
        Expect.error(UnknownTopicIdException.class,
            () -> admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds().get());
        Expect.error(UnknownTopicOrPartitionException.class, () -> describe(admin, missing));
    }

    private static void autoCreate(Clients clients) throws Exception {
        String topic = Clients.unique("auto");
        clients.send(Map.of(), topic, 10, "full");
        clients.readAndCompare(topic, 10, "full");
    }

    private static void autoCreateBySubscription(Clients clients) throws Exception {
        String topic = Clients.unique("auto");
        Member member = new Member(clients, "only", new Member.Tally(), Clients.unique("group"), topic,
            Map.of("allow.auto.create.topics", true, "metadata.max.age.ms", 500));
        Member.run("partition of the created topic assigned", () -> member.partitions() == 1, member);
    }

    // Configs and cluster

    private static Config describe(Admin admin, String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        return admin.describeConfigs(List.of(resource)).all().get().get(resource);
    }

    private static void describeConfigs(Clients clients) throws Exception {
        String topic = clients.newTopic(1, Map.of("cleanup.policy", "compact", "max.message.bytes", "2000000"));
        Config config = describe(clients.admin(), topic);
        ConfigEntry policy = config.get("cleanup.policy");
        Expect.equal("compact", policy.value(), "cleanup.policy");
        Expect.equal(ConfigSource.DYNAMIC_TOPIC_CONFIG, policy.source(), "source of cleanup.policy");
        Expect.equal(ConfigEntry.ConfigType.LIST, policy.type(), "type of cleanup.policy");
        Expect.equal("2000000", config.get("max.message.bytes").value(), "max.message.bytes");
        ConfigEntry retention = config.get("retention.ms");
        Expect.equal("604800000", retention.value(), "retention.ms");
        Expect.that(retention.isDefault() && !retention.isReadOnly() && !retention.isSensitive(), "retention.ms is not a plain default");
        Expect.equal(ConfigEntry.ConfigType.LONG, retention.type(), "type of retention.ms");
    }

    private static void alterConfigs(Clients clients) throws Exception {
        Admin admin = clients.admin();
        String topic = clients.newTopic(1);
        alter(admin, topic, "retention.ms", "60000", OpType.SET);
        Expect.equal("60000", describe(admin, topic).get("retention.ms").value(), "retention.ms set");
        alter(admin, topic, "cleanup.policy", "compact", OpType.APPEND);
        Expect.equal("delete,compact", describe(admin, topic).get("cleanup.policy").value(), "cleanup.policy with one appended");
        alter(admin, topic, "cleanup.policy", "delete", OpType.SUBTRACT);
        Expect.equal("compact", describe(admin, topic).get("cleanup.policy").value(), "cleanup.policy with one taken off");
        Expect.equal("60000", describe(admin, topic).get("retention.ms").value(), "retention.ms untouched");
        alter(admin, topic, "retention.ms", "", OpType.DELETE);
        Expect.equal("604800000", describe(admin, topic).get("retention.ms").value(), "retention.ms deleted");
        Expect.error(InvalidConfigurationException.class, () -> alter(admin, topic, "retention.ms", "a while", OpType.SET));
        Expect.error(InvalidConfigurationException.class, () -> alter(admin, topic, "no.such.config", "1", OpType.SET));
    }

    private static Void alter(Admin admin, String topic, String name, String value, OpType operation) throws Exception {
        Collection<AlterConfigOp> operations = List.of(new AlterConfigOp(new ConfigEntry(name, value), operation));
        return admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), operations)).all().get();
    }

    private static void describeBrokerConfigs(Clients clients) throws Exception {
        Admin admin = clients.admin();
        String id = admin.describeCluster().nodes().get().iterator().next().idString();
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, id);
        Config config = admin.describeConfigs(List.of(broker)).all().get().get(broker);
        Expect.equal("1048588", config.get("message.max.bytes").value(), "message.max.bytes");
        Expect.equal("1", config.get("num.partitions").value(), "num.partitions");
    }

    private static void describeCluster(Clients clients) throws Exception {
        var cluster = clients.admin().describeCluster();
        Collection<Node> nodes = cluster.nodes().get();
        Expect.that(nodes.stream().anyMatch(node -> (node.host() + ":" + node.port()).equals(Clients.BOOTSTRAP)), "nodes are " + nodes);
        Expect.that(nodes.stream().anyMatch(node -> node.id() == controllerId(cluster)), "the controller is no node");
        Expect.that(!cluster.clusterId().get().isEmpty(), "no cluster id");
    }

    private static int controllerId(org.apache.kafka.clients.admin.DescribeClusterResult cluster) {
        try {
            return cluster.controller().get().id();
        } catch (Exception failed) {
            throw new AssertionError("no controller", failed);
        }
    }
}
