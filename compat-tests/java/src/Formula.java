import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeader;

/** The record formula of README.md: record i is the same in every language. */
final class Formula {
    /**
     * The longest value, with neither key nor headers, whose uncompressed batch still fits in 1,048,588 bytes: 61 bytes of
     * batch header, then length (3), attributes, timestamp, offset and key (1 each), value length (3), header count (1).
     */
    static final int LONGEST_VALUE = 1_048_588 - 72;

    private Formula() {}

    static ProducerRecord<byte[], byte[]> record(String topic, int partition, int i, String profile) {
        List<String> lacks = Arrays.asList(profile.split("-"));
        boolean plain = profile.equals("plain");
        return new ProducerRecord<>(topic, partition, timestamp(i),
            plain ? text("key-" + i) : key(i),
            plain ? padded(i) : value(i, lacks),
            plain ? List.of() : headers(i, lacks));
    }

    static long timestamp(int i) {
        return 1_700_000_000_000L + i * 10L;
    }

    /** Fails with both views of the record where a client handed back something else than the formula. */
    static void compare(ConsumerRecord<byte[], byte[]> seen, int i, String profile) {
        ProducerRecord<byte[], byte[]> formula = record(seen.topic(), seen.partition(), i, profile);
        long time = profile.equals("plain") ? formula.timestamp() : seen.timestamp();
        Expect.equal(show(formula.key(), formula.value(), formula.headers(), formula.timestamp()),
            show(seen.key(), seen.value(), seen.headers(), time), "record " + i);
    }

    private static byte[] key(int i) {
        return switch (i % 10) {
            case 0 -> null;
            case 1 -> new byte[0];
            default -> text("key-" + i);
        };
    }

    private static byte[] value(int i, List<String> lacks) {
        return switch (i % 7) {
            case 3 -> i % 10 == 0 && lacks.contains("noboth") ? new byte[0] : null;
            case 4 -> ("\u00ff\u00fe\u0000\u0080" + i).getBytes(ISO_8859_1);
            default -> padded(i);
        };
    }

    private static List<Header> headers(int i, List<String> lacks) {
        Header b = new RecordHeader("dup", text("b"));
        Header binary = new RecordHeader("bin", new byte[] {(byte) 0xff, 0x00, (byte) 0xfe});
        return switch (i % 5) {
            case 1 -> List.of(new RecordHeader("h", text("" + i)));
            case 2 -> lacks.contains("nodup") ? List.of(b) : List.of(new RecordHeader("dup", text("a")), b);
            case 3 -> lacks.contains("nonull") ? List.of(binary) : List.of(binary, new RecordHeader("null", null));
            case 4 -> List.of(new RecordHeader("empty", new byte[0]));
            default -> List.of();
        };
    }

    private static byte[] padded(int i) {
        return text("value-" + i + "-" + "x".repeat(i * 37 % 211));
    }

    static byte[] text(String string) {
        return string.getBytes(UTF_8);
    }

    private static String show(byte[] key, byte[] value, Headers headers, long timestamp) {
        String pairs = StreamSupport.stream(headers.spliterator(), false)
            .map(header -> header.key() + "=" + show(header.value())).collect(Collectors.joining(", "));
        return "key " + show(key) + ", value " + show(value) + ", headers [" + pairs + "], timestamp " + timestamp;
    }

    private static String show(byte[] bytes) {
        return bytes == null ? "null" : "'" + new String(bytes, ISO_8859_1) + "'";
    }
}
