internal import Backup
internal import DRPKit

/// Takes the client's stack at the target away, with its data: the end of a drill.
package struct DestroyStep: Step {
    package static let kind = "destroy"
    package static let schema: [SettingSpec] = []
    package static let rule = StepRule(deadline: .seconds(300), retries: 3)

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        let site = try world.targetSite(context)
        return StepPlan(
            name: context.step, kind: Self.kind, lines: ["the stack at \(site.name) is removed, with its data"])
    }

    package func observe(_ context: StepContext) async throws -> Observation {
        guard case .absent = try await deployer(context).observe(context.client) else { return .notDone }
        return .done(["removed": true])
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let client = try world.client(context)
        let place = try await world.place(client)
        guard try context.mode == .drill || world.targetSite(context).name != place.site else {
            throw StepError(context, .refused, "\(client.id) lives at \(place.site): its stack is not taken away")
        }
        try await deployer(context).remove(client.id, owner: try world.writerKeys(client).client)
        Failpoint.hit("destroy.removed")
        return ["removed": true]
    }

    /// What is gone stays gone: it was made by this run alone.
    package func undo(_ context: StepContext) async throws {}

    private func deployer(_ context: StepContext) throws -> any Deployer {
        try world.deployer(try world.targetSite(context), context.mode)
    }
}
