internal import Backup
internal import DRPKit

/// Keeps applications from writing to the source, so that what is captured next is all that there is. Reading goes on.
package struct FreezeStep: Step {
    package static let kind = "freeze"
    package static let schema: [SettingSpec] = []
    package static let rule = StepRule(deadline: .seconds(60), retries: 2)
    package static let changesProduction = true

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        StepPlan(
            name: context.step, kind: Self.kind,
            lines: ["MongoDB and Redis of the source take no more writes of applications; the downtime begins"])
    }

    package func observe(_ context: StepContext) async throws -> Observation {
        guard try world.isSourceAlive(context) else { return .done(StepWorld.sourceLost) }
        guard let frozen = context.notes["frozen"] else { return .notDone }
        return try await world.sourceBlock(context).isOn() ? .done(["frozen": frozen]) : .notDone
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let block = try await world.sourceBlock(context)
        // Written first: from now on clients may be refused.
        if context.notes["frozen"] == nil {
            try await context.note("frozen", .text(JournalDate.text(world.clock.now)))
        }
        try await block.set(true)
        Failpoint.hit("freeze.frozen")
        context.progress("the source takes no writes")
        return ["frozen": context.notes["frozen"] ?? .text(JournalDate.text(world.clock.now))]
    }

    package func undo(_ context: StepContext) async throws {
        guard try world.isSourceAlive(context) else { return }
        try await world.sourceBlock(context).set(false)
        context.progress("the source takes writes again")
    }
}
