import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;

/** The commands of the contract: profile, checks, write and read (setup is the script's). */
public final class Suite {
    private static final int CHECK_SECONDS_MAX = 60;
    private static final int CLEANUP_SECONDS_MAX = 5;
    private static final String PROFILE = "full";

    interface Check {
        void run(Clients clients) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        List<String> words = List.of(args);
        switch (words.isEmpty() ? "" : words.get(0)) {
            case "profile" -> System.out.println(PROFILE);
            case "checks" -> runAll(Checks.all(), words.size() > 1 ? words.get(1) : "");
            case "write" -> write(words.get(1), words.get(2), Integer.parseInt(words.get(3)));
            case "read" -> read(words.get(1), Integer.parseInt(words.get(2)), words.get(3));
            default -> {
                System.err.println("usage: suite setup | profile | checks [PART] | write TOPIC CODEC N | read TOPIC N PROFILE");
                System.exit(2);
            }
        }
        System.exit(0);
    }

    private static void write(String topic, String codec, int count) throws Exception {
        try (Clients clients = new Clients()) {
            Admin admin = clients.admin();
            if (!admin.listTopics().names().get().contains(topic)) {
                admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
            }
            clients.send(Map.of("compression.type", codec), topic, count, PROFILE);
        }
    }

    private static void read(String topic, int count, String profile) {
        run("read/" + topic, clients -> clients.readAndCompare(topic, count, profile));
    }

    private static void runAll(Map<String, Check> checks, String part) {
        checks.forEach((name, check) -> {
            if (name.contains(part)) {
                run(name, check);
            }
        });
    }

    /** Runs on a thread of its own, which an interrupt frees from a client that hangs. */
    private static void run(String name, Check check) {
        FutureTask<Void> task = new FutureTask<>(() -> {
            try (Clients clients = new Clients()) {
                check.run(clients);
            }
            return null;
        });
        Thread thread = new Thread(task, name);
        thread.setDaemon(true);
        thread.start();
        try {
            task.get(CHECK_SECONDS_MAX, TimeUnit.SECONDS);
            System.out.println("ok " + name);
        } catch (ExecutionException failed) {
            System.out.println("FAIL " + name + ": " + reason(failed.getCause()));
        } catch (TimeoutException late) {
            System.out.println("FAIL " + name + ": not done in " + CHECK_SECONDS_MAX + " s, at " + where(thread));
            task.cancel(true);
            awaitCleanup(thread);
        } catch (InterruptedException stopped) {
            throw new IllegalStateException(stopped);
        }
    }

    private static void awaitCleanup(Thread thread) {
        try {
            thread.join(TimeUnit.SECONDS.toMillis(CLEANUP_SECONDS_MAX));
        } catch (InterruptedException stopped) {
            throw new IllegalStateException(stopped);
        }
    }

    private static String reason(Throwable failure) {
        return Stream.iterate(failure, cause -> cause != null, Throwable::getCause)
            .filter(cause -> !(cause instanceof ExecutionException))
            .map(cause -> cause instanceof AssertionError ? cause.getMessage() : cause.toString())
            .distinct().collect(Collectors.joining("; ")).replaceAll("\\s+", " ");
    }

    private static String where(Thread thread) {
        return Stream.of(thread.getStackTrace()).filter(frame -> frame.getClassName().endsWith("Checks"))
            .map(frame -> "line " + frame.getLineNumber() + " of " + frame.getFileName()).findFirst().orElse("an unknown place");
    }
}
