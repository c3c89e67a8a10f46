import DRPKit
import Foundation
import Glibc
import Testing

@testable import Migrate

@Suite("RunEngine, killed")
struct RunCrashTests {
    private static let boundaries = ["intent", "observe", "apply", "applied", "observe-after", "outcome"]
        .flatMap { ["before-\($0)", "after-\($0)"] }

    /// Every boundary of every step, and inside of the effect.
    static let points =
        ["one", "two", "three"].flatMap { step in (boundaries + ["inside"]).map { "run.step.\(step).\($0)" } }
        + ["run.before-finish", "run.after-finish"]

    @Test("killed at any boundary, a run that is resumed ends right and does nothing twice", arguments: points)
    func killed(point: String) async throws {
        let folder = NSTemporaryDirectory() + "drp-crash-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String, point = point as String] in
            setenv("DRP_FAILPOINT", point, 1)
            let runbook = try RunCrashTests.runbook()
            _ = try await RunCrashTests.engine(folder).start(runbook, client: ClientID(unchecked: "acme"), inputs: [:])
        }
        let engine = try await Self.engine(folder)
        let run = try #require(try await engine.journal.runs().first)
        #expect(run.state == (point == "run.after-finish" ? .done : .running))
        if run.state == .running {
            let report = try await engine.resume(run.id)
            #expect(report.run.state == .done)
        }
        #expect(try FileStep.effects(folder) == ["one", "two", "three"])
        let steps = try await engine.journal.steps(of: run.id)
        #expect(steps.map(\.outcome) == [["of": "one"], ["of": "two"], ["of": "three"]])
        #expect(try await engine.journal.verifyEvents().problems.isEmpty)
        let done = try await engine.journal.events(run: run.id).filter { $0.kind == "step.done" }
        #expect(done.map(\.step) == ["one", "two", "three"])
    }

    static func runbook() throws -> Runbook {
        let text = """
            runbook: migrate
            about: Move
            for: client
            steps:
              - file: {name: one}
              - file: {name: two}
              - file: {name: three}
            """
        var catalog = StepCatalog()
        catalog.add { FileStep(folder: "") }
        return try RunbookReader.read(bytes: Array(text.utf8), file: "r.yaml", schemas: catalog.schemas)
    }

    static func engine(_ folder: String) async throws -> RunEngine {
        var catalog = StepCatalog()
        catalog.add { FileStep(folder: folder) }
        let clock = SystemClock()
        return RunEngine(
            journal: try await Journal.open(folder: folder + "/state", clock: clock), catalog: catalog, clock: clock)
    }
}

/// A step whose effect is a line in a file: twice would show.
private struct FileStep: Migrate.Step {
    static let kind = "file"
    static let schema: [SettingSpec] = []
    static let rule = StepRule(deadline: .seconds(60), retries: 0)
    let folder: String

    static func effects(_ folder: String) throws -> [String] {
        guard let data = FileManager.default.contents(atPath: folder + "/effects") else { return [] }
        return String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    func plan(_ context: StepContext) async throws -> StepPlan { StepPlan(name: "", kind: "", lines: []) }

    func observe(_ context: StepContext) async throws -> Observation {
        try Self.effects(folder).contains(context.step) ? .done(["of": .text(context.step)]) : .notDone
    }

    func apply(_ context: StepContext) async throws -> StepOutcome {
        let lines = try Self.effects(folder) + [context.step]
        try Data(lines.map { $0 + "\n" }.joined().utf8).write(to: URL(fileURLWithPath: folder + "/effects"))
        // The effect is in the world, and nobody has been told.
        Failpoint.hit("run.step.\(context.step).inside")
        return ["of": .text(context.step)]
    }

    func undo(_ context: StepContext) async throws {}
}
