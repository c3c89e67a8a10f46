import Foundation

@testable import DRPKit
@testable import Migrate

/// What the engine itself takes: runs whose steps do nothing, journaled as always.
enum Engine {
    private static let (runs, steps) = (5, 20)

    private struct Nothing: Migrate.Step {
        static let kind = "nothing"
        static let schema: [SettingSpec] = []
        static let rule = StepRule(deadline: .seconds(60), retries: 0)

        func plan(_ context: StepContext) async throws -> StepPlan { StepPlan(name: "", kind: "", lines: []) }
        func observe(_ context: StepContext) async throws -> Observation {
            context.applied.map { .done($0) } ?? .notDone
        }
        func apply(_ context: StepContext) async throws -> StepOutcome { [:] }
        func undo(_ context: StepContext) async throws {}
    }

    /// - Parameter folder: of the journal.
    static func measure(_ folder: String) async throws {
        let clock = SystemClock()
        let journal = try await Journal.open(folder: folder, clock: clock)
        var catalog = StepCatalog()
        catalog.add { Nothing() }
        let engine = RunEngine(journal: journal, catalog: catalog, clock: clock)
        let lines = (0..<steps).map { "  - nothing: {name: s\($0)}\n" }.joined()
        let runbook = try RunbookReader.read(
            bytes: Array("runbook: bench\nabout: Nothing\nfor: client\nsteps:\n\(lines)".utf8), file: "bench.yaml",
            schemas: catalog.schemas)
        try await Baselines.measure("steps: \(runs * steps)", bytes: 0) {
            for _ in 0..<runs {
                let report = try await engine.start(runbook, client: ClientID(unchecked: "bench"), inputs: [:])
                precondition(report.run.state == .done)
            }
        }
    }
}
