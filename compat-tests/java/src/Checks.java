import java.util.LinkedHashMap;
import java.util.Map;

/** What users of the Java client do every day. */
final class Checks {
    private Checks() {}

    static Map<String, Suite.Check> all() {
        Map<String, Suite.Check> checks = new LinkedHashMap<>();
        TopicChecks.addTo(checks);
        RecordChecks.addTo(checks);
        GroupChecks.addTo(checks);
        return checks;
    }
}
