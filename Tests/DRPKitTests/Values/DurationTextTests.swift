import DRPKit
import Testing

@Suite struct DurationTextTests {
    @Test(
        "durations are read as written",
        arguments: [("30s", 30), ("5m", 300), ("1h", 3600), ("7d", 604_800), ("1h30m", 5400), ("0s", 0)])
    func reads(text: String, seconds: Int) {
        #expect(DurationText.parse(text) == .seconds(seconds))
        #expect(DurationText.format(.seconds(seconds)) == text)
    }

    @Test(
        "anything else is refused",
        arguments: [
            "", "5", "m", "5 m", "-5m", "5M", "5m5m", "5m1h", "1.5h", "5ms", "1 s", "s", "٣m", "99999999999d",
            "99999999d", "40000d",
        ])
    func refuses(text: String) { #expect(DurationText.parse(text) == nil) }
}
