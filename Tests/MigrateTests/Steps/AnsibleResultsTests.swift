import Testing

@testable import Migrate

@Suite("AnsibleResults")
struct AnsibleResultsTests {
    @Test("failures and counts are read host by host; a torn line is left out")
    func read() {
        let results = AnsibleResults(
            lines: """
                {"host": "h1.north", "task": "install", "message": "no\\nroom"}
                {"host": "h2.north", "task": "Gathering Facts", "message": "Connection refused"}
                {"h1.north": {"ok": 3, "changed": 1, "failures": 1, "unreachable": 0}, "h2.north": {"ok": 0, "changed": 0, "failures": 0, "unreachable": 1}}
                {"host": "h1
                """)
        #expect(!results.isWhole && results.changed == 1)
        #expect(
            results.lines == [
                "h1.north: ok 3, changed 1, failed 1, unreachable 0",
                "h2.north: ok 0, changed 0, failed 0, unreachable 1",
            ])
        #expect(
            results.reason
                == "h1.north: the task 'install' failed: no room; h2.north: the task 'Gathering Facts' failed: Connection refused"
        )
    }

    @Test("a playbook that no host was in is not a success")
    func nothing() {
        #expect(!AnsibleResults(lines: "").isWhole && !AnsibleResults(lines: "{}\n").isWhole)
        #expect(AnsibleResults(lines: #"{"h": {"ok": 1, "changed": 0, "failures": 0, "unreachable": 0}}"#).isWhole)
    }

    @Test("of many failures the first three are told")
    func many() {
        let lines = (1...9).map { #"{"host": "h\#($0)", "task": "t", "message": "m"}"# }.joined(separator: "\n")
        #expect(AnsibleResults(lines: lines).reason?.hasSuffix("h3: the task 't' failed: m; and 6 more") == true)
    }
}
