internal import Backup
internal import DRPKit
internal import Foundation

/// Puts the client's stack on the target site, with new database passwords.
package struct DeployStep: Step {
    package static let kind = "deploy"
    package static let schema = [
        SettingSpec("to", .text, .required, about: "The site; `${target}` is what the command was given.")
    ]
    package static let rule = StepRule(deadline: .seconds(600), retries: 2)

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        let client = try world.client(context)
        let epoch = try await world.place(client).epoch + 1
        let spec = try spec(context, client, epoch: epoch, drillPort: nil)
        return StepPlan(name: context.step, kind: Self.kind, lines: try await deployer(context).plan(spec))
    }

    package func observe(_ context: StepContext) async throws -> Observation {
        let state = try await deployer(context).observe(context.client)
        guard case .complete(let deployment) = state, deployment.run == context.run.text else { return .notDone }
        return .done(try Self.outcome(deployment))
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let client = try world.client(context)
        guard let epoch = context.outcomes["preflight"]?.integer("epoch") else {
            throw StepError(context, .order, "it needs the outcome of a step 'preflight' before it")
        }
        let port = context.mode == .drill ? try await drillPort(context) : nil
        let spec = try spec(context, client, epoch: Int(epoch), drillPort: port)
        return try Self.outcome(try await deployer(context).deploy(spec))
    }

    package func undo(_ context: StepContext) async throws {
        let owner = try world.writerKeys(try world.client(context)).client
        try await deployer(context).remove(context.client, owner: owner)
    }

    private func deployer(_ context: StepContext) throws -> any Deployer {
        let site = try world.targetSite(context)
        if let to = context.settings.text("to"), to != site.name.text, !to.contains("$") {
            throw StepError(context, .settings, "it deploys to '\(to)', but the run goes to \(site.name)")
        }
        return try world.deployer(site, context.mode)
    }

    /// A drill's API must not take the port that production serves at; a resumed drill keeps its own.
    private func drillPort(_ context: StepContext) async throws -> Int {
        if let known = context.notes["port"]?.integer { return Int(known) }
        let address = try world.targetSite(context).frontends[0].address
        guard let port = FreePorts.choose(1, at: address, besides: []).first else {
            throw StepError(context, .refused, "\(address) has no free port")
        }
        try await context.note("port", .integer(Int64(port)))
        return port
    }

    private func spec(
        _ context: StepContext, _ client: Client, epoch: Int, drillPort: Int?
    ) throws -> DeploymentSpec {
        guard let api = client.services.api, case .command(let command) = api.launch else {
            throw StepError(
                context, .settings, "\(client.id) has no `services.api.command`, which a local site starts")
        }
        return DeploymentSpec(
            client: client.id, owner: try world.writerKeys(client).client, epoch: epoch, run: context.run.text,
            apiCommand: command, apiPort: drillPort ?? api.port)
    }

    private static func outcome(_ deployment: Deployment) throws -> StepOutcome {
        ["deployment": try JSONValue(encoding: deployment), "address": .text(deployment.address)]
    }
}
