internal import DRPKit
internal import Foundation
internal import Logging

/// Says what happened, into the log and the journal.
package struct NotifyStep: Step {
    package static let kind = "notify"
    package static let schema = [
        SettingSpec("template", .choice(["moved", "drilled"]), .optional, about: "Which notice; `moved` without this.")
    ]
    package static let rule = StepRule(deadline: .seconds(60), retries: 2)

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        StepPlan(name: context.step, kind: Self.kind, lines: ["a line in the log and an event in the journal"])
    }

    package func observe(_ context: StepContext) async throws -> Observation {
        let events = try await world.journal.events(run: context.run)
        return events.contains { $0.kind == "notice.\(template(context))" } ? .done(["written": true]) : .notDone
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let target = context.inputs["target"] ?? "?"
        let data = context.outcomes["verify"]?.text("summary") ?? "not compared"
        try await world.journal.append(
            event: "notice.\(template(context))", client: context.client, run: context.run, step: context.step,
            payload: ["target": .text(target), "data": .text(data)])
        Failpoint.hit("notify.written")
        world.logger.notice(
            "client \(template(context))",
            metadata: ["client": "\(context.client)", "site": "\(target)"])
        return ["written": true]
    }

    package func undo(_ context: StepContext) async throws {}

    private func template(_ context: StepContext) -> String { context.settings.text("template") ?? "moved" }
}
