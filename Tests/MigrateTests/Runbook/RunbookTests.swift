import DRPKit
import Foundation
import Testing

@testable import Migrate

@Suite("Runbook")
struct RunbookTests {
    static let schemas: [String: StepSchema] = [
        "preflight": StepSchema(settings: [], deadline: .seconds(60), retries: 1),
        "deploy": StepSchema(
            settings: [SettingSpec("to", .text, .required, about: "the site")], deadline: .seconds(600), retries: 2),
        "restore": StepSchema(settings: [SettingSpec("at", .text, about: "when")], deadline: .seconds(60), retries: 0),
        "verify": StepSchema(
            settings: [
                SettingSpec("content", .choice(["exact", "count"]), about: "how"),
                SettingSpec("checks", .list, about: "which"), SettingSpec("strict", .boolean, about: "whether"),
            ], deadline: .seconds(60), retries: 0),
        "switch": StepSchema(settings: [], deadline: .seconds(60), retries: 0, changesProduction: true),
        "probe": StepSchema(
            settings: [SettingSpec("for", .duration, about: "how long"), SettingSpec("limit", .size, about: "cap")],
            deadline: .seconds(60), retries: 0),
        "notify": StepSchema(settings: [], deadline: .seconds(60), retries: 0),
    ]

    static func read(_ text: String) throws(RunbookError) -> Runbook {
        try RunbookReader.read(bytes: Array(text.utf8), file: "r.yaml", schemas: schemas)
    }

    static func problems(_ text: String) -> [String] {
        do {
            _ = try read(text)
            return []
        } catch { return error.problems.map(\.description) }
    }

    static let head = "runbook: migrate\nabout: Move\nfor: client\nsteps:\n"

    private static let kinds: [any Migrate.Step.Type] = [
        AnsibleStep.self, ApproveStep.self, CatchUpStep.self, CommandStep.self, DeployStep.self, DestroyStep.self,
        FenceStep.self,
        FreezeStep.self, NotifyStep.self, PreflightStep.self, ProbeStep.self, ProtectStep.self, RestoreStep.self,
        SwitchStep.self, VerifyStep.self, WaitStep.self,
    ]

    static func shipped(_ name: String) throws -> Runbook {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "../../../runbooks"
        ).standardizedFileURL.path
        let schemas = kinds.map {
            (
                $0.kind,
                StepSchema(
                    settings: $0.schema, deadline: $0.rule.deadline, retries: $0.rule.retries,
                    changesProduction: $0.changesProduction)
            )
        }
        return try RunbookLibrary(folders: ["/nowhere", folder]).runbook(
            named: name, schemas: Dictionary(uniqueKeysWithValues: schemas))
    }

    @Test("the shipped runbooks have the steps of the promise, in order: nothing is switched before it was compared")
    func shipped() throws {
        let migrate = try Self.shipped("migrate")
        #expect(
            migrate.steps.map(\.name) == [
                "preflight", "deploy", "restore", "freeze", "catch-up", "verify", "switch", "probe", "fence", "notify",
            ])
        #expect(migrate.inputs == ["target", "at"])
        let resolved = try migrate.resolved(with: ["target": "par-dc5", "at": "latest"], mode: .real)
        #expect(resolved.steps[1].settings.text("to") == "par-dc5")
        #expect(resolved.steps[7].settings.duration("for") == .seconds(5))
        // While clients cannot write, a failure takes everything back; once they may have written, nothing does.
        #expect(migrate.steps.filter { $0.failure == .rollback }.map(\.name) == ["freeze", "catch-up", "verify"])
        let failover = try Self.shipped("failover")
        #expect(
            failover.steps.map(\.name) == [
                "preflight", "fence", "deploy", "restore", "verify", "switch", "probe", "notify",
            ])
        let failback = try Self.shipped("failback")
        let way = migrate.steps.map(\.name)
        #expect(failback.steps.map(\.name) == way.dropLast() + ["protect", "notify"])
        #expect(failback.inputs == ["target", "at", "old"])
        for runbook in [migrate, failover, failback] {
            #expect(throws: RunbookError.self) {
                try runbook.resolved(with: ["target": "x", "at": "latest", "old": "keep"], mode: .drill)
            }
        }
        #expect(try Self.shipped("drill").resolved(with: ["target": "x", "at": "1"], mode: .drill).steps.count == 7)
    }

    @Test("a runbook's hash is that of its bytes")
    func hash() throws {
        let text = Self.head + "  - notify\n"
        #expect(try Self.read(text).sha256 == ContentHash(hashing: Array(text.utf8)))
    }

    @Test("all mistakes are named at once, each with its line and what was meant")
    func allProblems() {
        let text = """
            runbook: migrate
            abuot: Move
            about: Move
            for: everybody
            steps:
              - preflight: {deadline: soon, retries: 99}
              - deplyo: {to: x}
              - deploy: {too: x}
              - verify: {content: maybe, checks: api, strict: 1}
              - probe: {for: 5 seconds, limit: 3}
              - restore: {at: "${tarjet}", deadline: "${at}"}
              - notify: [a]
              - notify
            """
        let problems = Self.problems(text)
        let expected = [
            "r.yaml:2:1: error: unknown key 'abuot' (did you mean 'about'?)",
            "r.yaml:4:6: error: 'for' must be client",
            "r.yaml:6:5: error: 'retries' of step 'preflight' must be 0 to 20",
            "r.yaml:6:27: error: 'deadline' of step 'preflight' must be a duration such as 30s, 5m, 1h, not 'soon'",
            "r.yaml:7:5: error: unknown step 'deplyo' (did you mean 'deploy'?)",
            "r.yaml:8:5: error: step 'deploy' needs the setting 'to' (the site)",
            "r.yaml:8:14: error: step 'deploy' has no setting 'too' (did you mean 'to'?)",
            "r.yaml:9:23: error: 'content' of step 'verify' must be one of exact, count, not 'maybe'",
            "r.yaml:9:38: error: 'checks' of step 'verify' must be a list of texts, not 'api'",
            "r.yaml:9:51: error: 'strict' of step 'verify' must be true or false, not '1'",
            "r.yaml:10:18: error: 'for' of step 'probe' must be a duration such as 30s, 5m, 1h, not '5 seconds'",
            "r.yaml:10:36: error: 'limit' of step 'probe' must be a size such as 64MiB, not '3'",
            "r.yaml:11:19: error: unknown input '${tarjet}' (did you mean 'target'?)",
            "r.yaml:11:42: error: 'deadline' of step 'restore' cannot come from an input",
            "r.yaml:12:13: error: the settings of step 'notify' must be a mapping, not a list",
            "r.yaml:13:5: error: there is a step 'notify' at line 12 already "
                + "(give one of them a name of its own with name:)",
        ]
        #expect(problems == expected)
    }

    @Test("a step kind that stands twice needs a name; with one, both are kept")
    func names() throws {
        let runbook = try Self.read(Self.head + "  - probe: {for: 1s}\n  - probe: {name: again, for: 2s}\n")
        #expect(runbook.steps.map(\.name) == ["probe", "again"])
        #expect(Self.problems(Self.head + "  - probe: {name: \"../x\"}\n").count == 1)
    }

    @Test("an input that is missing, or makes a value of the wrong shape, is refused before anything runs")
    func inputs() throws {
        let runbook = try Self.read(Self.head + "  - deploy: {to: \"${target}\"}\n  - probe: {for: \"${at}\"}\n")
        let error = #expect(throws: RunbookError.self) { try runbook.resolved(with: ["at": "now"], mode: .real) }
        #expect(
            error?.problems.map(\.message) == [
                "step deploy needs the input 'target'", "'for' of step probe must be a duration such as 30s, 5m, 1h",
            ])
        #expect(error?.code == .runbookInvalid)
    }

    @Test("a drill with a step that would change production is refused, unless the step is left out of drills")
    func drills() throws {
        let runbook = try Self.read(Self.head + "  - preflight:\n  - switch:\n")
        let error = #expect(throws: RunbookError.self) { try runbook.resolved(with: [:], mode: .drill) }
        #expect(error?.problems.map(\.message) == ["step switch would change production in a drill"])
        #expect(error?.problems.first?.line == 6)
        let careful = try Self.read(Self.head + "  - preflight:\n  - switch: {modes: [real]}\n")
        #expect(try careful.resolved(with: [:], mode: .drill).steps.map(\.name) == ["preflight"])
        let inDrills = Self.kinds.filter { !$0.changesProduction }.map { $0.kind }
        #expect(
            Set(Self.kinds.map { $0.kind }).subtracting(inDrills) == [
                "freeze", "catch-up", "fence", "switch", "protect", "ansible",
            ])
    }

    @Test("an input that looks like another input is not filled in again")
    func noDoubleFill() throws {
        let runbook = try Self.read(Self.head + "  - deploy: {to: \"a-${target}-${at}\"}\n")
        let resolved = try runbook.resolved(with: ["target": "${at}", "at": "x"], mode: .real)
        #expect(resolved.steps[0].settings.text("to") == "a-${at}-x")
    }

    @Test(
        "what is no runbook is refused in words",
        arguments: ["", "a", "- a", "runbook: x", "{", "steps: &a [*a]", head, head + "  - 1\n", head + "  - {}\n"])
    func noRunbook(text: String) {
        #expect(!Self.problems(text).isEmpty)
    }

    @Test("a runbook's name never becomes a path out of its folder", arguments: ["../x", "/etc/passwd", "a/b", ""])
    func hostileName(name: String) {
        #expect(throws: RunbookError.self) {
            try RunbookLibrary(folders: ["/tmp"]).runbook(named: name, schemas: Self.schemas)
        }
    }
}
