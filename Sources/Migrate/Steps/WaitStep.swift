internal import DRPKit
internal import Foundation

/// Lets time pass, counted from when the step first began: a resumed run waits only for the rest.
package struct WaitStep: Step {
    package static let kind = "wait"
    package static let schema = [SettingSpec("for", .duration, .required, about: "How long, as `30s`.")]
    package static let rule = StepRule(deadline: .seconds(24 * 3600), retries: 0)

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        StepPlan(name: context.step, kind: Self.kind, lines: ["waits for \(DurationText.format(time(context)))"])
    }

    package func observe(_ context: StepContext) async throws -> Observation {
        guard let began = began(context) else { return .notDone }
        let end = began.advanced(by: time(context))
        return end <= world.clock.now ? .done(["until": .text(JournalDate.text(end))]) : .notDone
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let start = began(context) ?? world.clock.now
        if context.notes["began"] == nil { try await context.note("began", .text(JournalDate.text(start))) }
        let end = start.advanced(by: time(context))
        // A sleep may end a little early by the clock of the day.
        while world.clock.now < end {
            try await world.clock.sleep(for: .seconds(max(0.001, end.timeIntervalSince(world.clock.now))))
        }
        return ["until": .text(JournalDate.text(end))]
    }

    package func undo(_ context: StepContext) async throws {}

    private func began(_ context: StepContext) -> Date? { context.notes["began"]?.text.flatMap(JournalDate.parse) }
    private func time(_ context: StepContext) -> Duration { context.settings.duration("for") ?? .zero }
}
