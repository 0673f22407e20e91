import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.List;
import java.util.Optional;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.utils.AppInfoParser;

/** The Java client: obeys the commands of `run`, as src/main.rs does with librdkafka. */
final class Bench {
    public static void main(String[] args) throws Exception {
        System.out.printf("{\"version\": \"kafka-clients %s\"}%n", AppInfoParser.getVersion());
        var commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            System.out.println(obey(line.split(" ")));
        }
    }

    private static String obey(String[] words) throws Exception {
        String topic = words[1];
        return switch (words[0]) {
            case "create" -> create(topic, number(words[2]));
            case "delete" -> delete(topic);
            case "produce" -> seconds(Flat.produce(topic, number(words[2]), number(words[3])));
            case "consume" -> seconds(Flat.consume(topic, number(words[2]), number(words[3])));
            case "paced" ->
                new Paced(topic, number(words[2]), number(words[3]), number(words[4]), number(words[5])).run();
            default -> throw new IllegalArgumentException("no such command: " + words[0]);
        };
    }

    private static String create(String topic, int partitions) throws Exception {
        try (var admin = Clients.admin()) {
            // Without a replication factor: the broker's default.
            admin.createTopics(List.of(new NewTopic(topic, Optional.of(partitions), Optional.empty()))).all().get();
        }
        return "{}";
    }

    private static String delete(String topic) throws Exception {
        try (var admin = Clients.admin()) {
            admin.deleteTopics(List.of(topic)).all().get();
        }
        return "{}";
    }

    private static int number(String word) {
        return Integer.parseInt(word);
    }

    private static String seconds(double seconds) {
        return "{\"seconds\": " + seconds + "}";
    }
}
