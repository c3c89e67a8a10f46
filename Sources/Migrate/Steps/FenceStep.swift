internal import Backup
internal import DRPKit

/// Makes sure that the old side cannot take a write any more: its databases refuse applications, and its stack is stopped where
/// a deployer reaches it. What cannot be reached is on record.
package struct FenceStep: Step {
    package static let kind = "fence"
    package static let schema = [
        SettingSpec("side", .choice(["source"]), .optional, about: "Which side; the source."),
        SettingSpec(
            "if-lost", .choice(["record", "fail"]), .optional,
            about: "What a source that cannot be reached means: `record` (the run goes on) or `fail`, the default."),
    ]
    package static let rule = StepRule(deadline: .seconds(120), retries: 2)
    package static let changesProduction = true

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        let client = try world.client(context)
        let place = try await world.place(client)
        return StepPlan(
            name: context.step, kind: Self.kind,
            lines: [
                "at \(place.site): the databases refuse applications, then the stack is stopped, if it can be reached"
            ])
    }

    package func observe(_ context: StepContext) async throws -> Observation { seen(context) }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let source = try world.sourceSite(context)
        let outcome = await fence(context, source).close()
        for text in outcome.fenced { context.progress("\(source.name): \(text)") }
        for text in outcome.open { context.progress("\(source.name) is NOT fenced: \(text)") }
        let open = outcome.open
        if !outcome.isClosed {
            guard context.settings.text("if-lost") == "record" else {
                throw StepError(
                    context, .refused, "\(source.name) may still take writes: \(open.joined(separator: "; "))")
            }
            try await world.journal.append(
                event: "fence.failed", client: context.client, run: context.run, step: context.step,
                payload: ["site": .text(source.name.text), "open": .list(open.map { .text($0) })])
        }
        return [
            "site": .text(source.name.text), "fenced": .list(outcome.fenced.map { .text($0) }),
            "open": .list(open.map { .text($0) }),
        ]
    }

    package func undo(_ context: StepContext) async throws {
        let source = try world.sourceSite(context)
        let fence = fence(context, source)
        try await fence.start()
        guard try world.isSourceAlive(context) else { return }
        try await fence.unblock()
        context.progress("\(source.name) takes writes again")
    }

    private func fence(_ context: StepContext, _ source: Site) -> Fence {
        Fence(world, client: context.client, at: source) { try await world.sourceDatabases(context) }
    }
}
