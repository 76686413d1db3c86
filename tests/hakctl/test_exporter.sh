#!/bin/sh
# test_exporter.sh - hakctl exporter and stats --prometheus: what promtool and a
# real prometheus make of them, and of conf/monitoring/. TAP.
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/hakctl/monitor.sh
. tests/hakctl/monitor.sh

start_busy && first=$pid && start_busy && second=$pid
result $? 'two programs run and answer'

# TIMEOUT [OPTION]: starts an exporter, which is then $exporter, at $url.
told() { grep -q '^listening on http://127.0.0.1:[0-9]*/metrics$' "$tmp/listening"; }
start_exporter()
{
    : >"$tmp/listening"
    "$ctl" exporter --listen 127.0.0.1:0 --timeout "$@" >"$tmp/listening" \
        2>"$said" &
    exporter=$!
    pids="$pids $exporter"
    within 60 told || return 1
    url=$(sed 's/^listening on //' "$tmp/listening")
}
# The machine may be busy: nobody is down who is merely late.
start_exporter 60000
result $? 'the exporter says where it listens'

# ---- the text ----------------------------------------------------------------

has() { grep -qE -e "$1" "$tmp/metrics"; }
scrape() { curl -sf "$url" >"$tmp/metrics" 2>"$said"; }
both()
{
    scrape && has "^hakmem_up\{pid=\"$first\",program=\"python3\"\} 1$" &&
        has "^hakmem_up\{pid=\"$second\",program=\"python3\"\} 1$"
}
within 60 both
result $? 'a scrape has both processes'
figures()
{
    of="pid=\"$first\",program=\"python3\""
    scrape && has "^hakmem_box_live_bytes\{$of,box=\"large\"\} [34][0-9]{7}$" &&
        has "^hakmem_class_allocs_total\{$of,box=\"ultra\",class=\"944\"\} [1-9]"
}
within 60 figures
result $? 'boxes and classes have figures'

"$ctl" stats "$first" --prometheus >"$tmp/one" 2>"$said" &&
    ! grep -q "pid=\"$second\"" "$tmp/one" &&
    grep -o '^hakmem_[a-z_]*' "$tmp/one" | sort -u >"$tmp/names.one" &&
    grep -o '^hakmem_[a-z_]*' "$tmp/metrics" | grep -v _exporter_ | sort -u |
    diff "$tmp/names.one" - >"$said"
result $? 'stats --prometheus has the same metrics of one process'

"$ctl" stats "$first" --prometheus | grep -c _class_ >"$said" &&
    start_exporter 60000 --no-classes && scrape &&
    has '^hakmem_box_allocs_total' && ! has '_class_'
result $? '--no-classes leaves the classes out'
kill "$exporter"
start_exporter 60000
scrape

# No counter becomes smaller from one scrape to the next.
cp "$tmp/metrics" "$tmp/before"
scrape && awk '
    FNR == NR { if ($1 ~ /_total\{/) was[$1] = $2; next }
    $1 in was { n++; if ($2 + 0 < was[$1] + 0) { print; bad = 1 } }
    END { exit bad || !n }' "$tmp/before" "$tmp/metrics" >"$said"
result $? 'counters do not decrease'

with_promtool() # NAME COMMAND...: promtool finds nothing
{
    name=$1
    shift
    if ! command -v promtool >/dev/null; then
        skip "$name" 'promtool is not installed (package prometheus)'
        return
    fi
    "$@" >"$said" 2>&1
    result $? "$name"
}
check_metrics() { promtool check metrics <"$1" >"$said" 2>&1 && [ ! -s "$said" ]; }
with_promtool 'promtool check metrics is silent' check_metrics "$tmp/metrics"
with_promtool 'also for stats --prometheus' check_metrics "$tmp/one"

# ---- HTTP ----------------------------------------------------------------------

[ "$(curl -so /dev/null -w '%{http_code}' "${url}x")" = 404 ] &&
    [ "$(curl -so /dev/null -w '%{http_code}' -X POST "$url")" = 405 ] &&
    [ "$(curl -so /dev/null -w '%{http_code}' "${url%metrics}")" = 200 ]
result $? 'other paths and methods are refused'

# A stopped process costs the timeout and hides nobody else. Its queue of
# connections fills up; that must not be waited for either.
kill "$exporter"
start_exporter 300
within 60 both
kill -STOP "$first"
one_hangs()
{
    scrape && has "^hakmem_up\{pid=\"$first\",program=\"python3\"\} 0$" &&
        has "^hakmem_up\{pid=\"$second\",program=\"python3\"\} 1$" &&
        ! has "^hakmem_box_live_bytes\{pid=\"$first\"" &&
        has "^hakmem_box_live_bytes\{pid=\"$second\""
}
within 60 one_hangs
result $? 'a process that hangs is down, and the others are there'
i=0
while [ $i -lt 60 ] && scrape; do i=$((i + 1)); done
[ $i = 60 ] && within 60 one_hangs
result $? 'also after many scrapes'
kill -CONT "$first"
within 60 both
result $? 'it comes back'
kill "$exporter"
start_exporter 60000

refused() # NAME STATUS MESSAGE WORDS...
{
    name=$1 want=$2 message=$3
    shift 3
    "$ctl" exporter "$@" >"$said" 2>&1
    [ $? = "$want" ] && grep -qF -e "$message" "$said"
    result $? "$name"
}
where=${url#http://}
refused 'a port that is taken' 1 'Address already in use' \
    --listen "${where%/metrics}"
refused 'an address that is none' 2 'is not ADDRESS:PORT' --listen localhost:1
refused 'a port that is none' 2 'is not ADDRESS:PORT' --listen 127.0.0.1
refused 'a timeout that is none' 2 'from 1 to 60000' --timeout 0
refused 'a word too many' 2 'is not wanted here' now

# ---- conf/monitoring -----------------------------------------------------------

with_promtool 'promtool check rules is silent' \
    promtool check rules conf/monitoring/rules.yml
with_promtool 'promtool check config finds nothing' \
    promtool check config conf/monitoring/prometheus.yml
with_promtool 'each alert fires when it should' \
    promtool test rules tests/hakctl/alerts.yml

# Each expression of the dashboard is one, and names what there is.
# shellcheck disable=SC2016 # variables of the dashboard
jq -r '.panels[].targets[].expr' conf/monitoring/dashboard.json |
    sed 's/\$program/.*/g; s/\$pid/.*/g' >"$tmp/expressions" &&
    [ "$(wc -l <"$tmp/expressions")" -gt 10 ]
result $? 'the dashboard is JSON with expressions'
{
    printf 'groups: [{name: dashboard, rules: ['
    while read -r line; do
        printf '{record: x, expr: %s},' "$(printf '%s' "$line" | jq -R .)"
    done <"$tmp/expressions"
    echo ']}]'
} >"$tmp/dashboard.yml"
with_promtool 'promtool accepts each of them' \
    promtool check rules --lint=none "$tmp/dashboard.yml"
{
    sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' "$tmp/metrics"
    sed -n 's/.*record: \(.*\)/\1/p' conf/monitoring/rules.yml
} | sort >"$tmp/known"
{
    cat "$tmp/expressions"
    sed '/annotations:/,/- alert:/d' conf/monitoring/rules.yml
} | grep -oE '(process:)?hakmem_[a-z_]*(:[a-z]*)?' | sort -u |
    grep -vE '^hakmem_(recorded|alerts)$' | comm -23 - "$tmp/known" >"$said"
[ ! -s "$said" ]
result $? 'dashboard and rules name only metrics that there are'

# ---- prometheus ------------------------------------------------------------------

free_port()
{
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

# PromQL: the value is then in $said
query()
{
    curl -sfG "http://127.0.0.1:$port/api/v1/query" \
        --data-urlencode "query=$1" >"$tmp/reply" 2>/dev/null &&
        jq -e '.data.result[0].value[1]' "$tmp/reply" >"$said"
}
ready() { curl -sf "http://127.0.0.1:$port/-/ready" >/dev/null; }
yields() { query "$1" && grep -qE -e "$2" "$said"; }

if ! command -v prometheus >/dev/null; then
    skip 'prometheus scrapes it' 'prometheus is not installed'
else
    sed "s|127.0.0.1:9464|${where%/metrics}|; s/15s/1s/" \
        conf/monitoring/prometheus.yml >"$tmp/prometheus.yml"
    cp conf/monitoring/rules.yml "$tmp"
    port=$(free_port)
    prometheus --config.file="$tmp/prometheus.yml" \
        --storage.tsdb.path="$tmp/tsdb" \
        --web.listen-address="127.0.0.1:$port" >"$tmp/prometheus.log" 2>&1 &
    pids="$pids $!"
    within 120 ready
    result $? 'prometheus starts with conf/monitoring/prometheus.yml'
    within 120 yields "hakmem_up{pid=\"$first\"}" '"1"'
    result $? 'it scrapes the exporter'
    within 120 yields "process:hakmem_live_bytes:sum{pid=\"$second\"}" '[0-9]{8}'
    result $? 'the recorded rules have figures'
    within 120 yields "rate(hakmem_box_allocs_total{pid=\"$second\",box=\"ultra\"}[20s])" \
        '"[1-9]'
    result $? 'rates are there'
    yields 'count(scrape_samples_scraped{job="hakmem"} > 100)' '"1"'
    result $? 'no sample was rejected as a duplicate'
    kill "${pids##* }"
    wait "${pids##* }" 2>/dev/null
fi

kill "$exporter"
wait "$exporter"
result $? 'SIGTERM ends the exporter'
finish
