// A publisher's system in Java, written from the published documents: it imports nothing of this project.
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.core.message.Encoding;
import io.cloudevents.jackson.JsonFormat;
import io.cloudevents.kafka.CloudEventDeserializer;
import io.cloudevents.kafka.CloudEventSerializer;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class Neighbour {
    static final String PUBLISHER = System.getenv("PUBLISHER");
    static final String SOURCE = "urn:publisher:" + PUBLISHER;
    static final String PREFIX = "internal.tenure.";
    static final String CONSOLE = System.getenv("TENURE_CONSOLE_URL");
    static final String IDENTITY = System.getenv("TENURE_IDENTITY_URL");
    static final Duration PATIENCE = Duration.ofSeconds(60);
    static final ObjectMapper JSON = new ObjectMapper();
    static final HttpClient HTTP = HttpClient.newHttpClient();

    static Map<String, Object> kafka() {
        String login = "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"%s\" password=\"%s\";";
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", System.getenv("KAFKA_BOOTSTRAP"));
        settings.put("security.protocol", "SASL_SSL");
        settings.put("sasl.mechanism", "SCRAM-SHA-512");
        settings.put(
            "sasl.jaas.config", login.formatted(System.getenv("KAFKA_USERNAME"), System.getenv("KAFKA_PASSWORD")));
        settings.put("ssl.truststore.type", "PEM");
        settings.put("ssl.truststore.location", System.getenv("KAFKA_CA_FILE"));
        return settings;
    }

    static void say(String step, Map<String, ?> what) throws IOException {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("step", step);
        line.putAll(what);
        System.out.println(JSON.writeValueAsString(line));
    }

    static HttpRequest.Builder ask(String url) {
        return HttpRequest.newBuilder(URI.create(url)).timeout(PATIENCE);
    }

    static JsonNode json(HttpRequest request) throws IOException, InterruptedException {
        var answer = HTTP.send(request, BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException(request.uri() + ": " + answer.statusCode() + " " + answer.body());
        }
        return JSON.readTree(answer.body());
    }

    /** The authorization of the publisher's machine account. */
    static String token() throws IOException, InterruptedException {
        String pair = System.getenv("CLIENT_ID") + ":" + System.getenv("CLIENT_SECRET");
        String basic = Base64.getEncoder().encodeToString(pair.getBytes(StandardCharsets.UTF_8));
        var form = HttpRequest.BodyPublishers.ofString("grant_type=client_credentials");
        var asked = ask(IDENTITY + "/oauth/token").header("Authorization", "Basic " + basic);
        asked.header("Content-Type", "application/x-www-form-urlencoded");
        return "Bearer " + json(asked.POST(form).build()).get("access_token").textValue();
    }

    /** Whether the data have what their schema requires, and a service serves that schema. */
    static boolean fits(String dataschema, JsonNode data) throws IOException, InterruptedException {
        JsonNode schema = json(ask(IDENTITY + "/schemas/" + dataschema).build());
        for (JsonNode name : schema.get("required")) {
            if (!data.has(name.textValue())) {
                return false;
            }
        }
        return schema.get("$id").textValue().equals(dataschema);
    }

    /** Send an event to the publisher's own topic; return its id. */
    static String send(String name, Map<String, ?> data, String key, Encoding mode) throws Exception {
        String id = UUID.randomUUID().toString();
        String dataschema = "urn:tenure:events:" + name + ":1";
        if (!fits(dataschema + ":sent", JSON.valueToTree(data))) {
            throw new IOException("not as its schema says: " + data);
        }
        CloudEvent event = CloudEventBuilder.v1()
            .withId(id)
            .withSource(URI.create(SOURCE))
            .withType(PREFIX + name)
            .withTime(OffsetDateTime.now(ZoneOffset.UTC))
            .withDataSchema(URI.create(dataschema))
            .withExtension("partitionkey", key)
            .withData("application/json", JSON.writeValueAsBytes(data))
            .build();
        Map<String, Object> settings = kafka();
        settings.put(CloudEventSerializer.ENCODING_CONFIG, mode);
        if (mode == Encoding.STRUCTURED) {
            settings.put(CloudEventSerializer.EVENT_FORMAT_CONFIG, JsonFormat.CONTENT_TYPE);
        }
        var serializer = new CloudEventSerializer();
        serializer.configure(settings, false);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), serializer)) {
            var record = new ProducerRecord<>("publisher.inbound.v1." + PUBLISHER, key, event);
            producer.send(record).get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
        }
        say("sent", Map.of("id", id, "data", data));
        return id;
    }

    /** Say what became of the event, as the publisher's topic of outcomes says it. */
    static void outcome(KafkaConsumer<String, CloudEvent> consumer, List<CloudEvent> read, String id) throws Exception {
        Instant end = Instant.now().plus(PATIENCE);
        while (Instant.now().isBefore(end)) {
            consumer.poll(Duration.ofSeconds(1)).forEach(record -> read.add(record.value()));
            for (CloudEvent event : read) {
                JsonNode data = JSON.readTree(event.getData().toBytes());
                if (data.get("event_id").textValue().equals(id)) {
                    String type = event.getType().replace(PREFIX, "");
                    boolean fits = fits(event.getDataSchema().toString(), data);
                    say("outcome", Map.of("type", type, "fits", fits, "data", data));
                    return;
                }
            }
        }
        throw new IOException("no outcome of " + id);
    }

    /** Say which event of the topic has the plan, as a stream of Server-Sent Events says it. */
    static void effect(Instant since, String productId, String token) throws Exception {
        String query = "?type=PlanListed&since=" + URLEncoder.encode(since.toString(), StandardCharsets.UTF_8);
        var asked = ask(CONSOLE + "/live/marketplace.events.v1" + query).header("Authorization", token);
        var answer = HTTP.send(asked.build(), BodyHandlers.ofLines());
        if (answer.statusCode() != 200) {
            throw new IOException("live: " + answer.statusCode());
        }
        var lines = answer.body().filter(line -> line.startsWith("data:")).iterator();
        while (lines.hasNext()) {
            JsonNode event = JSON.readTree(lines.next().substring(5));
            JsonNode data = event.get("data");
            if (data.at("/plan/product_id").asText().equals(productId)) {
                Map<String, Object> what = new LinkedHashMap<>();
                what.put("type", event.get("type").textValue().replace(PREFIX, ""));
                what.put("id", event.get("id"));
                what.put("cause", event.get("causationid"));
                what.put("fits", fits(event.get("dataschema").textValue(), data));
                what.put("data", data);
                say("effect", what);
                return;
            }
        }
        throw new IOException("no plan " + productId);
    }

    static Map<String, Object> plan(String run) {
        Map<String, Object> plan = new LinkedHashMap<>();
        var random = new Random();
        String digits = String.format("%06dN%03d", random.nextInt(1_000_000), random.nextInt(1_000));
        plan.put("product_id", run.substring(0, 5).toUpperCase() + digits);
        plan.put("publisher", PUBLISHER);
        plan.put("programme", "neighbour-subscription");
        plan.put("product", "neighbour-" + run.substring(0, 6));
        plan.put("product_name", "Neighbour");
        plan.put("period", "annual");
        plan.put("support", "basic");
        plan.put("billing", "upfront");
        plan.put("commitment_months", 12);
        plan.put("category", "open");
        plan.put("agreement", "desktop");
        plan.put("price", Map.of("amount", 4200, "currency", "EUR"));
        return plan;
    }

    public static void main(String[] arguments) throws Exception {
        Instant since = Instant.now();
        String run = UUID.randomUUID().toString().replace("-", "");
        String token = token();
        Map<String, Object> settings = kafka();
        settings.put("group.id", "publisher-" + PUBLISHER + "." + run);
        settings.put("auto.offset.reset", "earliest");
        var plan = plan(run);
        String productId = plan.get("product_id").toString();
        List<CloudEvent> read = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new CloudEventDeserializer())) {
            consumer.subscribe(List.of("publisher.outcomes.v1." + PUBLISHER));
            String listed = send("PlanListed", Map.of("plan", plan), productId, Encoding.BINARY);
            effect(since, productId, token);
            outcome(consumer, read, listed);
            String nobodys = "nobodys-" + run;
            var unknown = Map.of("subscription_id", nobodys, "reference", "4500017");
            String confirmed = send("OrderConfirmed", unknown, nobodys, Encoding.STRUCTURED);
            outcome(consumer, read, confirmed);
            var asked = ask(CONSOLE + "/events/" + SOURCE + "/" + confirmed + "?wait=20").header("Authorization", token);
            say("answer", JSON.convertValue(json(asked.build()), new TypeReference<Map<String, Object>>() {}));
        }
        System.exit(0);
    }
}
