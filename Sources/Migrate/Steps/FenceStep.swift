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
        var (fenced, open): ([String], [String]) = ([], [])
        do {
            try await world.sourceBlock(context).set(true)
            fenced.append("databases refuse applications")
        } catch {
            open.append("databases: \(Fault(error).text)")
        }
        Failpoint.hit("fence.blocked")
        if let deployer = try? world.deployer(source, .real) {  // A site that drp does not deploy to.
            do {
                let state = try await deployer.observe(context.client)
                if state.deployment != nil {
                    try await deployer.stop(context.client)
                    fenced.append("stack stopped")
                }
            } catch {
                open.append("stack: \(Fault(error).text)")
            }
        }
        for text in fenced { context.progress("\(source.name): \(text)") }
        for text in open { context.progress("\(source.name) is NOT fenced: \(text)") }
        // A stack that is stopped has no databases that could refuse anything.
        if !open.isEmpty, !fenced.contains("stack stopped") {
            guard context.settings.text("if-lost") == "record" else {
                throw StepError(
                    context, .refused, "\(source.name) may still take writes: \(open.joined(separator: "; "))")
            }
            try await world.journal.append(
                event: "fence.failed", client: context.client, run: context.run, step: context.step,
                payload: ["site": .text(source.name.text), "open": .list(open.map { .text($0) })])
        }
        return [
            "site": .text(source.name.text), "fenced": .list(fenced.map { .text($0) }),
            "open": .list(open.map { .text($0) }),
        ]
    }

    package func undo(_ context: StepContext) async throws {
        let source = try world.sourceSite(context)
        if let deployer = try? world.deployer(source, .real),  // A site that drp does not deploy to.
            try await deployer.observe(context.client).deployment != nil
        {
            _ = try await deployer.start(context.client)
        }
        guard try world.isSourceAlive(context) else { return }
        try await world.sourceBlock(context).set(false)
        context.progress("\(source.name) takes writes again")
    }
}
