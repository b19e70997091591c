# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_musterd_global_optspecs
    string join \n config= set= address= token= token-file= ca= cert= cert-key= timeout= o/output= json columns= no-header sort= color= q/quiet h/help V/version
end

function __fish_musterd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_musterd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_musterd_using_subcommand
    set -l cmd (__fish_musterd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c musterd -n "__fish_musterd_needs_command" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_needs_command" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_needs_command" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_needs_command" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_needs_command" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_needs_command" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_needs_command" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_needs_command" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_needs_command" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_needs_command" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_needs_command" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_needs_command" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_needs_command" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_needs_command" -l json
complete -c musterd -n "__fish_musterd_needs_command" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_needs_command" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_needs_command" -s V -l version -d 'Print version'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "serve" -d 'Run the daemon (the default command)'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "services" -d 'List the services'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "instances" -d 'List the instances of a service'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "show" -d 'Show one instance: checks with their last results, lease, metadata'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "register" -d 'Register an instance, or change what is registered'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "deregister" -d 'Remove instances'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "heartbeat" -d 'Renew the leases of instances'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "check" -d 'Probe an instance now; exit code 5 if a check fails'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "drain" -d 'Take instances out of discovery while they finish their work: status stopping'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "disable" -d 'Take instances out of discovery: status unhealthy'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "enable" -d 'Lift what drain or disable has set'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "discover" -d 'List the healthy instances of a service, in a form for programs'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "pick" -d 'Print host:port of one healthy instance'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "watch" -d 'Show changes when they come'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "events" -d 'Show past changes'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "watchers" -d 'List, add and remove webhooks'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "routes" -d 'List, set, remove and resolve routes of gateways'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "transport" -d 'Show or change the mode of each channel'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "migrate" -d 'Show or control the migration to the broker'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "broker" -d 'Show the embedded broker; peek into, purge and delete its queues'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "token" -d 'Make, show, rotate and revoke tokens'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "run" -d 'Start a process, register it as an instance, and remove the instance when the process ends'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "run-shim"
complete -c musterd -n "__fish_musterd_needs_command" -f -a "health" -d 'Ask whether the daemon is healthy; exit code 0 means yes, 5 no'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "tls" -d 'Make certificates for a first try with TLS'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "prober" -d 'Run a prober: it takes health checks from the broker and answers with verdicts'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "sd-file" -d 'Keep a file of targets for Prometheus (file_sd) up to date'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "store" -d 'Check, repair or show the store of a stopped daemon'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "backup" -d 'Write everything that the running daemon stores, messages in queues included, into a file'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "restore" -d 'Put a backup into the folder of a stopped daemon; what was there is kept aside'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "config" -d 'Check, print and explain the configuration'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "check-config"
complete -c musterd -n "__fish_musterd_needs_command" -f -a "hash-password" -d 'Read a password from standard input and print its hash, for `broker.users.<name>.password_hash`'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "completions" -d 'Print the completions for a shell'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "man" -d 'Write the man pages into a folder'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "version" -d 'Print the version'
complete -c musterd -n "__fish_musterd_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand serve" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l json
complete -c musterd -n "__fish_musterd_using_subcommand serve" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand serve" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand services" -l status -d 'Only services with an instance in this status' -r
complete -c musterd -n "__fish_musterd_using_subcommand services" -l tag -d 'Only services with an instance that has this tag' -r
complete -c musterd -n "__fish_musterd_using_subcommand services" -l zone -d 'Only services with an instance in this zone' -r
complete -c musterd -n "__fish_musterd_using_subcommand services" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand services" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand services" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand services" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand services" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand services" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand services" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand services" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand services" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand services" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand services" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand services" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand services" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand services" -l watch -d 'Show the list again after each change'
complete -c musterd -n "__fish_musterd_using_subcommand services" -l json
complete -c musterd -n "__fish_musterd_using_subcommand services" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand services" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand services" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l status -d 'Only instances in this status' -r
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand instances" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l watch -d 'Show the list again after each change'
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l exit-code -d 'Exit code 5 unless all are healthy'
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l json
complete -c musterd -n "__fish_musterd_using_subcommand instances" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand instances" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand instances" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand show" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand show" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand show" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand show" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand show" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand show" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand show" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand show" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand show" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand show" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand show" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand show" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand show" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand show" -l json
complete -c musterd -n "__fish_musterd_using_subcommand show" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand show" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand register" -l port -d 'The port at which it listens' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l id -d 'The instance\'s id; by default NAME-HOST-PORT' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l host -d 'The host under which others reach it' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l check -d 'http:/path, http://other/url, tcp, grpc or ttl; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l tag -d 'A tag; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l zone -d 'The zone' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l version -d 'The version' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l meta -d 'An entry of the metadata; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l ttl -d 'How long it stays without a heartbeat or a passing check, such as 30s' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -s f -l file -d 'The registration as JSON, as POST /services/register takes it, or a list of them; - for standard input' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand register" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand register" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand register" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand register" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand register" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand register" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand register" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand register" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand register" -l json
complete -c musterd -n "__fish_musterd_using_subcommand register" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand register" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand register" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l incarnation -d 'Only if this is the current registration' -r
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -s y -l yes -d 'Do not ask'
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l json
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand deregister" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l every -d 'Again and again, at this interval, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l json
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand heartbeat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand check" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand check" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand check" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand check" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand check" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand check" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand check" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand check" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand check" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand check" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand check" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand check" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand check" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand check" -l json
complete -c musterd -n "__fish_musterd_using_subcommand check" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand check" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l reason -d 'Why; others see it' -r
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l wait -d 'Return only after this time, so that clients have stopped using them, such as 30s' -r
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand drain" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l json
complete -c musterd -n "__fish_musterd_using_subcommand drain" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand drain" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l reason -d 'Why; others see it' -r
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l wait -d 'Return only after this time, so that clients have stopped using them, such as 30s' -r
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand disable" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l json
complete -c musterd -n "__fish_musterd_using_subcommand disable" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand disable" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand disable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand enable" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l json
complete -c musterd -n "__fish_musterd_using_subcommand enable" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand enable" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand enable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l tag -d 'Only with this tag; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l zone -d 'Only in this zone' -r
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l version -d 'Only of this version' -r
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l limit -d 'The most instances' -r
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l format -d 'How each instance is written' -r -f -a "address\t'host:port'
json\t'The daemon\'s answer'
env\t'NAME_0=host:port, for a shell'
upstream\t'The lines of an nginx upstream'"
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand discover" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l all -d 'Also instances that are not healthy'
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l json
complete -c musterd -n "__fish_musterd_using_subcommand discover" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand discover" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand discover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l policy -d 'How one is chosen' -r -f -a "round_robin\t'One after the other'
random\t'By chance'
weighted\t'By chance, in proportion to the weights'
hash\t'By a key'"
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l key -d 'What is hashed; the same key gives the same instance' -r
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l tag -d 'Only with this tag; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l zone -d 'Only in this zone' -r
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l version -d 'Only of this version' -r
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand pick" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l json
complete -c musterd -n "__fish_musterd_using_subcommand pick" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand pick" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand pick" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l since -d 'Begin after this cursor, without a snapshot' -r
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand watch" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l json
complete -c musterd -n "__fish_musterd_using_subcommand watch" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand watch" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand events" -l service -d 'Only of this service' -r
complete -c musterd -n "__fish_musterd_using_subcommand events" -l kind -d 'Only of this kind; may be repeated' -r -f -a "registered\t''
updated\t''
deregistered\t''
expired\t''
healthy\t''
unhealthy\t''
stopping\t''
guard_engaged\t''
guard_released\t''
route_set\t''
route_removed\t''"
complete -c musterd -n "__fish_musterd_using_subcommand events" -l since -d 'Only events after this cursor' -r
complete -c musterd -n "__fish_musterd_using_subcommand events" -l limit -d 'The most events' -r
complete -c musterd -n "__fish_musterd_using_subcommand events" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand events" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand events" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand events" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand events" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand events" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand events" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand events" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand events" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand events" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand events" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand events" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand events" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand events" -s f -l follow -d 'Then show each event when it comes'
complete -c musterd -n "__fish_musterd_using_subcommand events" -l json
complete -c musterd -n "__fish_musterd_using_subcommand events" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand events" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l json
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -f -a "list" -d 'List the webhooks, how far behind each is, and its last error'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -f -a "add" -d 'Add a webhook'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -f -a "remove" -d 'Remove a webhook'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and not __fish_seen_subcommand_from list add remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l json
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l service -d 'Only of this service' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l event -d 'Only events of this kind; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l secret-file -d 'A file with the secret that signs what is sent' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l json
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l json
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the webhooks, how far behind each is, and its last error'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add a webhook'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove a webhook'
complete -c musterd -n "__fish_musterd_using_subcommand watchers; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l json
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -f -a "list" -d 'List the routes of gateways'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -f -a "set" -d 'Add or replace a route'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -f -a "remove" -d 'Remove a route'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -f -a "resolve" -d 'Show where a request would go'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and not __fish_seen_subcommand_from list set remove resolve help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l json
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l prefix -d 'Requests whose path begins with this' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l service -d 'go to this service' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l method -d 'Only for this method; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l priority -d 'Higher ones are tried first' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l strip-prefix -d 'Remove the prefix from the path'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l json
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l json
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l method -d 'Its method' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l json
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from resolve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the routes of gateways'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from help" -f -a "set" -d 'Add or replace a route'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove a route'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from help" -f -a "resolve" -d 'Show where a request would go'
complete -c musterd -n "__fish_musterd_using_subcommand routes; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l json
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -f -a "show" -d 'Show the modes, the counters and the broker (the default command)'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -f -a "set" -d 'Change the mode of every channel, or of one'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and not __fish_seen_subcommand_from show set help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l json
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l channel -d 'Only this channel' -r -f -a "events\t'Changes of the registry'
health\t'Health checks'
discovery\t'Commands and discovery requests'"
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l json
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show the modes, the counters and the broker (the default command)'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from help" -f -a "set" -d 'Change the mode of every channel, or of one'
complete -c musterd -n "__fish_musterd_using_subcommand transport; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l json
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -f -a "plan" -d 'Show which phases a start would go through'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -f -a "start" -d 'Begin with the baseline'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -f -a "advance" -d 'Continue with the next phase, without waiting for the rest of the soak; the baseline is always measured'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -f -a "status" -d 'Show its status'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -f -a "rollback" -d 'Switch back to direct'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -f -a "pause" -d 'Stay in this phase'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -f -a "resume" -d 'Continue after a pause'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and not __fish_seen_subcommand_from plan start advance status rollback pause resume help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l json
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l soak -d 'How long each phase lasts at least, such as 30s' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l step -d 'Wait for `advance` at the end of each phase'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l json
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l json
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from advance" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l watch -d 'Show it again every second until it ends'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l exit-code -d 'Exit code 5 unless it is completed'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l json
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -s y -l yes -d 'Do not ask'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l json
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l json
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l json
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from help" -f -a "plan" -d 'Show which phases a start would go through'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from help" -f -a "start" -d 'Begin with the baseline'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from help" -f -a "advance" -d 'Continue with the next phase, without waiting for the rest of the soak; the baseline is always measured'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from help" -f -a "status" -d 'Show its status'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from help" -f -a "rollback" -d 'Switch back to direct'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from help" -f -a "pause" -d 'Stay in this phase'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from help" -f -a "resume" -d 'Continue after a pause'
complete -c musterd -n "__fish_musterd_using_subcommand migrate; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "overview" -d 'Show the broker in numbers'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "connections" -d 'List the connections'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "channels" -d 'List the channels'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "exchanges" -d 'List the exchanges'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "queues" -d 'List the queues'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "bindings" -d 'List the bindings'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "consumers" -d 'List the consumers'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "peek" -d 'Show the first messages of a queue, without removing them'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "purge" -d 'Remove all messages that are ready in a queue'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "delete" -d 'Delete a queue with its messages and bindings'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "definitions" -d 'Export or import queues, exchanges, bindings, policies and users in the format of RabbitMQ\'s definitions files'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "user" -d 'Make, change, show and remove users, and set what they may do'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and not __fish_seen_subcommand_from overview connections channels exchanges queues bindings consumers peek purge delete definitions user help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from overview" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l vhost -d 'Only of this virtual host' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l name -d 'Only those whose name contains this' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l limit -d 'The most items' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from connections" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l vhost -d 'Only of this virtual host' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l name -d 'Only those whose name contains this' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l limit -d 'The most items' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from channels" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l vhost -d 'Only of this virtual host' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l name -d 'Only those whose name contains this' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l limit -d 'The most items' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from exchanges" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l vhost -d 'Only of this virtual host' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l name -d 'Only those whose name contains this' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l limit -d 'The most items' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from queues" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l vhost -d 'Only of this virtual host' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l name -d 'Only those whose name contains this' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l limit -d 'The most items' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from bindings" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l vhost -d 'Only of this virtual host' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l name -d 'Only those whose name contains this' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l limit -d 'The most items' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from consumers" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l vhost -d 'Its virtual host' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -s n -l count -d 'So many' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from peek" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l vhost -d 'Its virtual host' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -s y -l yes -d 'Do not ask'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from purge" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l vhost -d 'Its virtual host' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -f -a "export" -d 'Write the definitions, for rabbitmqctl import_definitions or musterd broker definitions import'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -f -a "import" -d 'Declare what a file defines, all of it or, if anything is wrong, nothing'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from definitions" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l json
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -f -a "add" -d 'Make a user; its password is read from standard input'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -f -a "passwd" -d 'Give a user another password, which is read from standard input'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -f -a "delete" -d 'Remove a user; its connections are closed'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -f -a "list" -d 'Show every user with its permissions'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -f -a "permissions" -d 'Set what a user may do in a vhost, or with --clear take all permissions there away'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -f -a "topic-permissions" -d 'Set the routing keys that a user may use at a topic exchange, or with --clear all of them'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from user" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "overview" -d 'Show the broker in numbers'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "connections" -d 'List the connections'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "channels" -d 'List the channels'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "exchanges" -d 'List the exchanges'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "queues" -d 'List the queues'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "bindings" -d 'List the bindings'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "consumers" -d 'List the consumers'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "peek" -d 'Show the first messages of a queue, without removing them'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "purge" -d 'Remove all messages that are ready in a queue'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "delete" -d 'Delete a queue with its messages and bindings'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "definitions" -d 'Export or import queues, exchanges, bindings, policies and users in the format of RabbitMQ\'s definitions files'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "user" -d 'Make, change, show and remove users, and set what they may do'
complete -c musterd -n "__fish_musterd_using_subcommand broker; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l json
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -f -a "create" -d 'Make a token; its secret is shown once'
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -f -a "list" -d 'Show every token, without secrets'
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -f -a "rotate" -d 'Give a token another secret'
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -f -a "revoke" -d 'Remove a token; its streams end'
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -f -a "whoami" -d 'Show whose token this command uses'
complete -c musterd -n "__fish_musterd_using_subcommand token; and not __fish_seen_subcommand_from create list rotate revoke whoami help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l name -d 'Letters, digits, "-", "_" and "."' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l policy -d 'A policy: reader, writer, operator, admin or one of security.policies; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l expires -d 'When it ends, such as 30d; never without it' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l json
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l json
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l overlap -d 'How long the old secret stays valid; default 1h' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l json
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l json
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l json
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from whoami" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "create" -d 'Make a token; its secret is shown once'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show every token, without secrets'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Give a token another secret'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Remove a token; its streams end'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "whoami" -d 'Show whose token this command uses'
complete -c musterd -n "__fish_musterd_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand run" -l name -d 'The service' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l port -d 'The port at which the command listens; 0 takes a free one, which the command finds in PORT' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l id -d 'The instance\'s id; by default NAME-HOST-PORT' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l host -d 'The host under which others reach it' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l check -d 'http:/path, http://other/url, tcp, grpc or ttl; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l tag -d 'A tag; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l zone -d 'The zone' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l version -d 'The version' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l meta -d 'An entry of the metadata; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l ttl -d 'The lease; a heartbeat is sent after each third of it' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l ready -d 'When the instance is registered: tcp (the port accepts), http:/path (a 2xx), or none (at once)' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l ready-timeout -d 'How long the command may take to be ready' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l restart -d 'When the command is started again' -r -f -a "never\t'Never'
on-failure\t'After a failure'
always\t'Always, unless a signal stopped it'"
complete -c musterd -n "__fish_musterd_using_subcommand run" -l restart-max -d 'The most restarts in a row' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l drain -d 'Between taking the instance out of discovery and the signal to the command' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l grace -d 'Between the signal and SIGKILL' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand run" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand run" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand run" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand run" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand run" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand run" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand run" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand run" -l json
complete -c musterd -n "__fish_musterd_using_subcommand run" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand run" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l parent -d 'The process whose end is to end this one' -r
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l program -d 'The program' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l json
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand run-shim" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand health" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand health" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand health" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand health" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand health" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand health" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand health" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand health" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand health" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand health" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand health" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand health" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand health" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand health" -l json
complete -c musterd -n "__fish_musterd_using_subcommand health" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand health" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand health" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l json
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -f -a "self-signed" -d 'Make a root and a server\'s certificate for a first try, valid for a year'
complete -c musterd -n "__fish_musterd_using_subcommand tls; and not __fish_seen_subcommand_from self-signed help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l name -d 'A host name or address of the daemon, besides localhost; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l dir -d 'The folder for the files' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l json
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from self-signed" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from help" -f -a "self-signed" -d 'Make a root and a server\'s certificate for a first try, valid for a year'
complete -c musterd -n "__fish_musterd_using_subcommand tls; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l amqp-url -d 'The broker, such as amqp://user:password@host:5672/; by default transport.amqp_url' -r
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l concurrency -d 'The most probes at once; by default health.queue_probes_max' -r
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand prober" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l json
complete -c musterd -n "__fish_musterd_using_subcommand prober" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand prober" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand prober" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l service -d 'Only instances of this service; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l tag -d 'Only instances with this tag; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l zone -d 'Only instances in this zone' -r
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l health -d 'Only instances in this state: healthy, unhealthy, starting, stopping or unknown' -r
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l once -d 'Write it once, then end'
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l json
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand sd-file" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l path -d 'The folder; by default store.path' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l json
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -f -a "check" -d 'Read everything and report each fault; exit code 0 means sound'
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -f -a "repair" -d 'Keep what is sound of a damaged store, and report what was dropped'
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -f -a "stats" -d 'Show files, commits and rows; of a running daemon\'s store, what the daemon reports'
complete -c musterd -n "__fish_musterd_using_subcommand store; and not __fish_seen_subcommand_from check repair stats help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l path -d 'The folder; by default store.path' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l json
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l path -d 'The folder; by default store.path' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l json
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from repair" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l path -d 'The folder; by default store.path' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l json
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from help" -f -a "check" -d 'Read everything and report each fault; exit code 0 means sound'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from help" -f -a "repair" -d 'Keep what is sound of a damaged store, and report what was dropped'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from help" -f -a "stats" -d 'Show files, commits and rows; of a running daemon\'s store, what the daemon reports'
complete -c musterd -n "__fish_musterd_using_subcommand store; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand backup" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l json
complete -c musterd -n "__fish_musterd_using_subcommand backup" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand backup" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l path -d 'The folder of a stopped daemon; by default store.path' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand restore" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l json
complete -c musterd -n "__fish_musterd_using_subcommand restore" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand restore" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l json
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -f -a "check" -d 'Read the configuration and report every fault, or ok'
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -f -a "print" -d 'Print every key with its value and where it comes from, as TOML'
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -f -a "keys" -d 'Explain the keys whose name contains a text; all by default'
complete -c musterd -n "__fish_musterd_using_subcommand config; and not __fish_seen_subcommand_from check print keys help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l json
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l json
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from print" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l json
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from keys" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Read the configuration and report every fault, or ok'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "print" -d 'Print every key with its value and where it comes from, as TOML'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "keys" -d 'Explain the keys whose name contains a text; all by default'
complete -c musterd -n "__fish_musterd_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l print -d 'Print every key with its value and where it comes from, as TOML'
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l json
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand check-config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l json
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand hash-password" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand completions" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l json
complete -c musterd -n "__fish_musterd_using_subcommand completions" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand completions" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand man" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand man" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand man" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand man" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand man" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand man" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand man" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand man" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand man" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand man" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand man" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand man" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand man" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand man" -l json
complete -c musterd -n "__fish_musterd_using_subcommand man" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand man" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand version" -l config -d 'Configuration file (TOML); config/default.toml names every key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand version" -l set -d 'Sets one key, over the file and the environment; may be repeated' -r
complete -c musterd -n "__fish_musterd_using_subcommand version" -l address -d 'The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says' -r
complete -c musterd -n "__fish_musterd_using_subcommand version" -l token -d 'The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of this machine' -r
complete -c musterd -n "__fish_musterd_using_subcommand version" -l token-file -d 'A file with that token' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand version" -l ca -d 'A PEM file with the roots that https:// addresses are verified with, besides the public ones; also MUSTERD_CA' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand version" -l cert -d 'A PEM file with the certificate that the running daemon gets if it asks for one' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand version" -l cert-key -d 'A PEM file with its key' -r -F
complete -c musterd -n "__fish_musterd_using_subcommand version" -l timeout -d 'How long an answer may take, such as 10s' -r
complete -c musterd -n "__fish_musterd_using_subcommand version" -s o -l output -d 'How answers are shown' -r -f -a "table\t'A table or words'
json\t'The daemon\'s answer; one object per line for streams'
wide\t'A table with more columns'"
complete -c musterd -n "__fish_musterd_using_subcommand version" -l columns -d 'These columns of a table, in this order' -r
complete -c musterd -n "__fish_musterd_using_subcommand version" -l sort -d 'Sort a table by this column; with - before it, downwards' -r
complete -c musterd -n "__fish_musterd_using_subcommand version" -l color -d 'Colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c musterd -n "__fish_musterd_using_subcommand version" -l json
complete -c musterd -n "__fish_musterd_using_subcommand version" -l no-header -d 'No headings of columns'
complete -c musterd -n "__fish_musterd_using_subcommand version" -s q -l quiet -d 'No progress and no hints'
complete -c musterd -n "__fish_musterd_using_subcommand version" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "serve" -d 'Run the daemon (the default command)'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "services" -d 'List the services'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "instances" -d 'List the instances of a service'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "show" -d 'Show one instance: checks with their last results, lease, metadata'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "register" -d 'Register an instance, or change what is registered'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "deregister" -d 'Remove instances'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "heartbeat" -d 'Renew the leases of instances'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "check" -d 'Probe an instance now; exit code 5 if a check fails'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "drain" -d 'Take instances out of discovery while they finish their work: status stopping'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "disable" -d 'Take instances out of discovery: status unhealthy'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "enable" -d 'Lift what drain or disable has set'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "discover" -d 'List the healthy instances of a service, in a form for programs'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "pick" -d 'Print host:port of one healthy instance'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "watch" -d 'Show changes when they come'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "events" -d 'Show past changes'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "watchers" -d 'List, add and remove webhooks'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "routes" -d 'List, set, remove and resolve routes of gateways'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "transport" -d 'Show or change the mode of each channel'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "migrate" -d 'Show or control the migration to the broker'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "broker" -d 'Show the embedded broker; peek into, purge and delete its queues'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "token" -d 'Make, show, rotate and revoke tokens'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "run" -d 'Start a process, register it as an instance, and remove the instance when the process ends'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "run-shim"
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "health" -d 'Ask whether the daemon is healthy; exit code 0 means yes, 5 no'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "tls" -d 'Make certificates for a first try with TLS'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "prober" -d 'Run a prober: it takes health checks from the broker and answers with verdicts'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "sd-file" -d 'Keep a file of targets for Prometheus (file_sd) up to date'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "store" -d 'Check, repair or show the store of a stopped daemon'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "backup" -d 'Write everything that the running daemon stores, messages in queues included, into a file'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "restore" -d 'Put a backup into the folder of a stopped daemon; what was there is kept aside'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "config" -d 'Check, print and explain the configuration'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "check-config"
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "hash-password" -d 'Read a password from standard input and print its hash, for `broker.users.<name>.password_hash`'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "completions" -d 'Print the completions for a shell'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "man" -d 'Write the man pages into a folder'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "version" -d 'Print the version'
complete -c musterd -n "__fish_musterd_using_subcommand help; and not __fish_seen_subcommand_from serve services instances show register deregister heartbeat check drain disable enable discover pick watch events watchers routes transport migrate broker token run run-shim health tls prober sd-file store backup restore config check-config hash-password completions man version help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from watchers" -f -a "list" -d 'List the webhooks, how far behind each is, and its last error'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from watchers" -f -a "add" -d 'Add a webhook'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from watchers" -f -a "remove" -d 'Remove a webhook'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from routes" -f -a "list" -d 'List the routes of gateways'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from routes" -f -a "set" -d 'Add or replace a route'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from routes" -f -a "remove" -d 'Remove a route'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from routes" -f -a "resolve" -d 'Show where a request would go'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from transport" -f -a "show" -d 'Show the modes, the counters and the broker (the default command)'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from transport" -f -a "set" -d 'Change the mode of every channel, or of one'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from migrate" -f -a "plan" -d 'Show which phases a start would go through'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from migrate" -f -a "start" -d 'Begin with the baseline'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from migrate" -f -a "advance" -d 'Continue with the next phase, without waiting for the rest of the soak; the baseline is always measured'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from migrate" -f -a "status" -d 'Show its status'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from migrate" -f -a "rollback" -d 'Switch back to direct'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from migrate" -f -a "pause" -d 'Stay in this phase'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from migrate" -f -a "resume" -d 'Continue after a pause'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "overview" -d 'Show the broker in numbers'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "connections" -d 'List the connections'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "channels" -d 'List the channels'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "exchanges" -d 'List the exchanges'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "queues" -d 'List the queues'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "bindings" -d 'List the bindings'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "consumers" -d 'List the consumers'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "peek" -d 'Show the first messages of a queue, without removing them'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "purge" -d 'Remove all messages that are ready in a queue'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "delete" -d 'Delete a queue with its messages and bindings'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "definitions" -d 'Export or import queues, exchanges, bindings, policies and users in the format of RabbitMQ\'s definitions files'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from broker" -f -a "user" -d 'Make, change, show and remove users, and set what they may do'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "create" -d 'Make a token; its secret is shown once'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "list" -d 'Show every token, without secrets'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "rotate" -d 'Give a token another secret'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "revoke" -d 'Remove a token; its streams end'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "whoami" -d 'Show whose token this command uses'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from tls" -f -a "self-signed" -d 'Make a root and a server\'s certificate for a first try, valid for a year'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from store" -f -a "check" -d 'Read everything and report each fault; exit code 0 means sound'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from store" -f -a "repair" -d 'Keep what is sound of a damaged store, and report what was dropped'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from store" -f -a "stats" -d 'Show files, commits and rows; of a running daemon\'s store, what the daemon reports'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Read the configuration and report every fault, or ok'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "print" -d 'Print every key with its value and where it comes from, as TOML'
complete -c musterd -n "__fish_musterd_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "keys" -d 'Explain the keys whose name contains a text; all by default'
