internal import Backup
internal import DRPKit
internal import Foundation

/// Puts the client's stack on the target site, with new database passwords.
package struct DeployStep: Step {
    package static let kind = "deploy"
    package static let schema = [
        SettingSpec("to", .text, .required, about: "The site; `${target}` is what the command was given."),
        SettingSpec(
            "old", .choice(["keep", "discard"]), .optional,
            about:
                "What becomes of data that an earlier run left at the site: `discard`, or `keep`, which ends the run; so without it."
        ),
    ]
    package static let rule = StepRule(deadline: .seconds(600), retries: 2)

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        let client = try world.client(context)
        let epoch = try await world.place(client).epoch + 1
        let spec = try await spec(context, client, epoch: epoch, drillPort: nil)
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
        // In a container its port is nobody else's.
        let isLocal = try world.targetSite(context).docker == nil
        let port = context.mode == .drill && isLocal ? try await drillPort(context) : nil
        var spec = try await spec(context, client, epoch: Int(epoch), drillPort: port)
        spec.discardsOld = context.settings.text("old") == "discard"
        return try Self.outcome(try await deployer(context).deploy(spec))
    }

    package func undo(_ context: StepContext) async throws {
        let deployer = try deployer(context)
        // What another run left there is not this one's to take back.
        guard let left = try await deployer.observe(context.client).deployment, left.run == context.run.text else {
            return
        }
        let owner = try world.writerKeys(try world.client(context)).client
        try await deployer.remove(context.client, owner: owner)
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
    ) async throws -> DeploymentSpec {
        let owner = try world.writerKeys(client).client
        let site = try world.targetSite(context)
        guard let api = client.services.api else {
            throw StepError(context, .settings, "\(client.id) has no `services.api`, which a site starts")
        }
        switch api.launch {
        case .command(let command):
            guard site.docker == nil else {
                throw StepError(
                    context, .settings, "\(client.id) has no `services.api.image`, which site \(site.name) starts")
            }
            return DeploymentSpec(
                client: client.id, owner: owner, epoch: epoch, run: context.run.text, apiCommand: command,
                apiPort: drillPort ?? api.port)
        case .image(let image):
            guard site.docker != nil else {
                throw StepError(
                    context, .settings, "\(client.id) has no `services.api.command`, which site \(site.name) starts")
            }
            return DeploymentSpec(
                client: client.id, owner: owner, epoch: epoch, run: context.run.text, apiCommand: [],
                apiPort: api.port, container: try await container(context, client, api, image))
        }
    }

    private func container(
        _ context: StepContext, _ client: Client, _ api: Services.API, _ image: String
    ) async throws -> ContainerSpec {
        guard let certificate = client.certificate else {
            throw StepError(context, .settings, "\(client.id) has no `certificate`, with which its edge answers")
        }
        let chain = try await world.resolver.resolve(.file(path: certificate.chain))
        var secrets: [String: Secret] = [:]
        for (name, source) in api.secrets { secrets[name] = try await world.resolver.resolve(source) }
        return ContainerSpec(
            image: image, domains: client.domains, certificate: chain.withText { $0 },
            key: try await world.resolver.resolve(certificate.key), secrets: secrets)
    }

    private static func outcome(_ deployment: Deployment) throws -> StepOutcome {
        ["deployment": try JSONValue(encoding: deployment), "address": .text(deployment.address)]
    }
}
