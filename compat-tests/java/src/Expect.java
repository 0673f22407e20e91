import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.Callable;

/** What a check expects; every failure says what was seen and what was expected. */
final class Expect {
    private Expect() {}

    static void that(boolean condition, String otherwise) {
        if (!condition) {
            throw new AssertionError(otherwise);
        }
    }

    static void equal(Object expected, Object actual, String what) {
        that(Objects.equals(expected, actual), what + ": " + actual + ", expected " + expected);
    }

    /** The action must fail with this error, which futures wrap in an ExecutionException. */
    static void error(Class<? extends Throwable> expected, Callable<?> action) {
        try {
            action.call();
        } catch (Throwable thrown) {
            for (Throwable cause = thrown; cause != null; cause = cause.getCause()) {
                if (expected.isInstance(cause)) {
                    return;
                }
            }
            throw new AssertionError(thrown + ", expected " + expected.getSimpleName());
        }
        throw new AssertionError("no error, expected " + expected.getSimpleName());
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    /** Repeats `step` until the condition holds, for 30 s at most. */
    static void until(String what, Condition condition, Runnable step) throws Exception {
        long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
        while (!condition.holds()) {
            that(System.nanoTime() < deadline, what + ": not within 30 s");
            step.run();
        }
    }
}
