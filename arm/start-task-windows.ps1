# Start task of the Windows pool. Runs as administrator whenever a node starts, before any runner; may run again at any time.
#
# No image of the marketplace brings Docker to Windows Server 2022. So on a plain image this installs it, and leaves what a
# task needs that calls `docker run` itself. Told by environment variables:
#   INSTALL_DOCKER       true on a plain image, false where the pool's own image brings Docker
#   DOCKER_URL           zip file with docker.exe and dockerd.exe
#   DOCKER_SHA256        its checksum; empty: not checked
#   REGISTRY             login server of the container registry
#   IDENTITY_CLIENT_ID   the pool's identity, which may pull from it
#   CA_CERTIFICATES      certificates that the node trusts and runners are given, PEM or the same in base64; empty: none
#   HTTPS_PROXY          proxy for the download above and for Docker; empty: none
#   NO_PROXY             what Docker pulls without it
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'   # drawing progress makes a download many times slower
[Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12

# What Batch keeps of this task's output begins anew after the restart below. This file does not.
if ($env:AZ_BATCH_NODE_ROOT_DIR) {
    Start-Transcript -Append -Path (Join-Path $env:AZ_BATCH_NODE_ROOT_DIR 'runner-start-task.log') | Out-Null
}

$client = 'C:\ProgramData\docker\client'   # the orchestrator points DOCKER_CONFIG here
$authorities = 'C:\runner-ca'   # the orchestrator mounts this into containers (MountCaCertificates)

function Install-Authorities {
    $pem = $env:CA_CERTIFICATES
    if (-not $pem.Contains('BEGIN')) { $pem = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($pem)) }
    New-Item -ItemType Directory -Force -Path $authorities | Out-Null
    [IO.File]::WriteAllText("$authorities\ca-bundle.pem", $pem)
    foreach ($one in [regex]::Matches($pem, '(?s)-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----')) {
        $file = Join-Path $env:TEMP 'ca.cer'
        [IO.File]::WriteAllText($file, $one.Value)
        Import-Certificate -FilePath $file -CertStoreLocation Cert:\LocalMachine\Root | Out-Null
        Remove-Item $file
    }
}

# Docker reads its proxy when it starts. It is started again only when that changed, so never under a runner at work.
# Source: Docker, "Daemon proxy configuration", environment variables; here of the service alone, not of the node.
function Set-DockerProxy {
    $service = 'HKLM:\SYSTEM\CurrentControlSet\Services\docker'
    $wanted = @("HTTPS_PROXY=$env:HTTPS_PROXY", "NO_PROXY=$env:NO_PROXY")
    $there = @((Get-ItemProperty -Path $service -Name Environment -ErrorAction SilentlyContinue).Environment)
    if (($there -join "`n") -eq ($wanted -join "`n")) { return }
    New-ItemProperty -Path $service -Name Environment -PropertyType MultiString -Value $wanted -Force | Out-Null
    Restart-Service -Name docker -Force
}

function Install-Docker {
    if (-not (Get-WindowsFeature -Name Containers).Installed) {
        $feature = Install-WindowsFeature -Name Containers
        if ($feature.RestartNeeded -ne 'No') {
            # Batch runs this again when the node is back. Until it goes down this must not end, or Batch sends it tasks.
            Restart-Computer -Force
            Start-Sleep -Seconds 900
        }
    }
    if (-not (Get-Service -Name docker -ErrorAction SilentlyContinue)) {
        $zip = Join-Path $env:TEMP 'docker.zip'
        $through = if ($env:HTTPS_PROXY) { @{ Proxy = $env:HTTPS_PROXY } } else { @{} }
        Invoke-WebRequest -UseBasicParsing -Uri $env:DOCKER_URL -OutFile $zip @through
        if ($env:DOCKER_SHA256 -and (Get-FileHash -Algorithm SHA256 $zip).Hash -ne $env:DOCKER_SHA256) {
            throw 'The Docker archive has another checksum than DOCKER_SHA256.'
        }
        Expand-Archive -Path $zip -DestinationPath $env:ProgramFiles -Force
        Remove-Item $zip
        # Into a folder that is on every account's path already: the Batch agent read its environment before this ran.
        Copy-Item (Join-Path $env:ProgramFiles 'docker\docker.exe') "$env:SystemRoot\System32" -Force
        & (Join-Path $env:ProgramFiles 'docker\dockerd.exe') --register-service
        if ($LASTEXITCODE -ne 0) { throw 'dockerd could not be registered as a service.' }
    }
    Set-Service -Name docker -StartupType Automatic
    Start-Service -Name docker
}

# Docker asks this for a login whenever it pulls. The answer is a token of the registry, made from one of the pool's
# identity; it lives three hours and is stored nowhere.
# Source: Azure/acr, docs/AAD-OAuth.md; docker/docker-credential-helpers, README.
function Install-CredentialHelper {
    New-Item -ItemType Directory -Force -Path $client | Out-Null
    $helper = @'
param([string] $Action)
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
[Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12
$server = [Console]::In.ReadToEnd().Trim()
if ($Action -ne 'get' -or $server -ne '__REGISTRY__') { 'credentials not found in native keychain'; exit 1 }
$query = 'api-version=2018-02-01&resource=https%3A%2F%2Fcontainerregistry.azure.net&client_id=__CLIENT_ID__'
$identity = Invoke-RestMethod -Headers @{ Metadata = 'true' } -Uri "http://169.254.169.254/metadata/identity/oauth2/token?$query"
$body = @{ grant_type = 'access_token'; service = $server; access_token = $identity.access_token }
$registry = Invoke-RestMethod -Method Post -Uri "https://$server/oauth2/exchange" -Body $body
@{ ServerURL = $server; Username = '00000000-0000-0000-0000-000000000000'; Secret = $registry.refresh_token } | ConvertTo-Json
'@
    $helper = $helper.Replace('__REGISTRY__', $env:REGISTRY).Replace('__CLIENT_ID__', $env:IDENTITY_CLIENT_ID)
    [IO.File]::WriteAllText("$client\credential.ps1", $helper)
    $call = "@powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -File $client\credential.ps1 %1"
    [IO.File]::WriteAllText("$env:SystemRoot\System32\docker-credential-acr.cmd", $call)
    [IO.File]::WriteAllText("$client\config.json", "{`"credHelpers`": {`"$env:REGISTRY`": `"acr`"}}")
}

# When Batch ends a task (its time is over, or somebody ended it) it ends Docker's client, but not the container. So one
# whose client is gone is stopped, every minute, and nothing of it stays that would keep its name taken. Containers are
# listed before clients: a client is there before its container, so a runner that has just started is never taken for an
# orphan. A runner has 60 seconds to end its job (GHR_STOP_TIMEOUT); Docker gives it more, to end by itself.
function Install-Sweeper {
    $sweeper = @'
$names = @(docker ps --all --filter name=runner- --format '{{.Names}}')
$clients = @(Get-CimInstance Win32_Process -Filter "Name='docker.exe'" | ForEach-Object { "$($_.CommandLine) " })
foreach ($name in $names) {
    if (-not ($clients | Where-Object { $_.Contains(" --name $name ") })) {
        docker stop --time 90 $name
        docker rm --force $name
    }
}
'@
    [IO.File]::WriteAllText("$client\sweep.ps1", $sweeper)
    $action = New-ScheduledTaskAction -Execute 'powershell.exe' -Argument "-NoProfile -ExecutionPolicy Bypass -File $client\sweep.ps1"
    $every = New-ScheduledTaskTrigger -Once -At (Get-Date) -RepetitionInterval (New-TimeSpan -Minutes 1)
    $system = New-ScheduledTaskPrincipal -UserId 'SYSTEM' -RunLevel Highest
    Register-ScheduledTask -TaskName 'runner-sweep' -Action $action -Trigger $every -Principal $system -Force | Out-Null
}

# The accounts of containers (ContainerAdministrator, ContainerUser) reach neither the metadata service nor the wire
# server, except its DNS. A container has no route to the former unless it makes one. Containers may be at work when this
# runs again: a rule that is there stays, and what is no longer wanted goes last. So a rule that changes needs a new name.
function Protect-Node {
    $accounts = 'D:(A;;CC;;;S-1-5-93-2-1)(A;;CC;;;S-1-5-93-2-2)'
    $rule = @{ Direction = 'Outbound'; Action = 'Block'; Profile = 'Any'; LocalUser = $accounts }
    $wanted = @{
        'runner-metadata' = @{ DisplayName = 'Runners: metadata service'; RemoteAddress = '169.254.169.254' }
        'runner-wire'     = @{
            DisplayName = 'Runners: wire server'; RemoteAddress = '168.63.129.16'
            Protocol = 'TCP'; RemotePort = '1-52', '54-65535'
        }
    }
    $there = @(Get-NetFirewallRule -Name 'runner-*' -ErrorAction SilentlyContinue | ForEach-Object { $_.Name })
    foreach ($name in $wanted.Keys) {
        $own = $wanted[$name]
        if ($there -notcontains $name) { New-NetFirewallRule -Name $name @rule @own | Out-Null }
    }
    foreach ($name in $there) {
        if (-not $wanted.ContainsKey($name)) { Remove-NetFirewallRule -Name $name }
    }
}

if ($env:CA_CERTIFICATES) { Install-Authorities }
if ($env:INSTALL_DOCKER -eq 'true') {
    Install-Docker
    Install-CredentialHelper
    Install-Sweeper
    docker version
    if ($LASTEXITCODE -ne 0) { throw 'Docker does not answer.' }
}
if ($env:HTTPS_PROXY) { Set-DockerProxy }
Protect-Node
